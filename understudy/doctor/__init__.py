"""``understudy doctor``: asks the servers of a configuration what the gateway relies on."""
