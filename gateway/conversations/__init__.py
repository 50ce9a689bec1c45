"""What a gateway remembers of conversations, and shares with its replicas."""
