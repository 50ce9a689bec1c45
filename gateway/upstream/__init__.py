"""Model servers behind OpenAI-compatible HTTP."""
