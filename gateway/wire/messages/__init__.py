"""Anthropic's Messages API: what clients of that form ask and get."""
