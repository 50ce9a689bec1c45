"""``understudy keys``: who may ask the gateway."""
