"""``understudy record``: asks a cascade's models a data set's questions, to learn from."""
