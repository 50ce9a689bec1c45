"""``understudy distill``: what makes the next student, one file a command."""
