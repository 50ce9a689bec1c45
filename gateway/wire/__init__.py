"""The shapes that are read and written: OpenAI JSON and server-sent events."""
