"""``understudy flywheel``: serve, collect, train, measure, promote and serve again, locally."""
