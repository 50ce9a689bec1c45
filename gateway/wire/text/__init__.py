"""OpenAI's older completions: text that goes on from a bare prompt, without a chat."""
