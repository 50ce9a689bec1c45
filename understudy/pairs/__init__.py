"""``understudy pairs``: look at the pair log, take pairs out of it, make training sets of them."""
