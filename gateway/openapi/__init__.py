"""The gateway's OpenAPI document: what is accepted and answered, from the code that does it."""
