"""All that needs a training library.  What can be decided without one is decided outside."""
