"""``understudy bill``: what was spent, by whom and on what, from the ledger in Redis."""
