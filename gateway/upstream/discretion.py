"""Takes out of a model server's words what must not leave the house: its address and our key."""

import re
from urllib.parse import quote, urlsplit

HIDDEN = "***"
# A path, without what ends a sentence.
_REST = r"(?:/(?:[^\s\"'<>`,;)\]}]*[^\s\"'<>`,;)\]}:.])?)?"
_SCHEME = r"(?:[a-z][a-z0-9+.-]{0,15}://)"
# Addresses that mean something inside the house alone, whoever's they are.
_PRIVATE = (
    r"(?<![\w.])(?:10(?:\.\d{1,3}){3}|127(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}"
    r"|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}|169\.254(?:\.\d{1,3}){2})(?![\w.]*\d)"
)
# Shorter ones would be found in words that are none.
_LEAST_KEY = 4
# Paths that say nothing: every server of this kind has them.
_COMMON_PATHS = frozenset({"", "/v1"})


class Discretion:
    """What is to be hidden of one server."""

    def __init__(self, base_url: str, api_key: str | None) -> None:
        places = "|".join([*_of_address(base_url), f"{_SCHEME}?{_PRIVATE}(?::\\d+)?{_REST}"])
        self._places = re.compile(places, re.IGNORECASE)
        keys = {api_key, quote(api_key, safe="")} if api_key else set()
        self._keys = sorted((key for key in keys if len(key) >= _LEAST_KEY), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text with stars in place of what it must not tell."""
        for key in self._keys:
            text = text.replace(key, HIDDEN)
        return self._places.sub(HIDDEN, text)


def _of_address(base_url: str) -> list[str]:
    """Patterns of what tells where a server is.

    A host without a dot, a Service's name, is a word like others unless a scheme, a port or a path
    stands beside it: a model may have the same name.
    """
    parts = urlsplit(base_url)
    host, path = re.escape(parts.hostname or ""), parts.path.rstrip("/")
    bracketed = rf"\[?{host}\]?" if ":" in (parts.hostname or "") else host
    begin, end = r"(?<![\w.-])", r"(?![\w-])"
    patterns = [rf"{_SCHEME}{bracketed}{end}(?::\d+)?{_REST}"]
    if re.search(r"[.:]", parts.hostname or ""):
        patterns.append(rf"{begin}{bracketed}{end}(?::\d+)?{_REST}")
    else:
        patterns.append(rf"{begin}{bracketed}:\d+{_REST}")
    if path not in _COMMON_PATHS:
        patterns.append(rf"{re.escape(path)}{_REST}")
    return patterns
