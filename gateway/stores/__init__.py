"""What is kept: the local journal of pairs, and Redis."""
