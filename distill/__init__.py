"""From pairs to what a student learns from: read them, choose among them, write them as rows."""
