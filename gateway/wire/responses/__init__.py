"""OpenAI's responses, as a mapping to the internal form of a chat and back."""
