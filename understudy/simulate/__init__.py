"""``understudy simulate``: what an objective would cost, and whether it would hold."""
