"""Audits: what the teacher would have said of drafts that were kept, asked off the request path."""
