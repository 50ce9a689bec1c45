"""HTTP routes: parse, authenticate, admit, answer."""
