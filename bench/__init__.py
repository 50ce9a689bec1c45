"""What the gateway costs: a static upstream, the gateway as users run it, and load."""
