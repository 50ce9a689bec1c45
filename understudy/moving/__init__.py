"""``understudy import``: configurations of other gateways, as far as they mean something here."""
