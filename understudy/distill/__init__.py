"""``understudy distill``: make the next student, measure it, let it in."""
