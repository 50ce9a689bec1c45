"""Where requests to one URL go, and all of them that is the same each time."""

import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_VISIBLE = re.compile(r"[!-~]+").fullmatch


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and ``head``: that of a request but for the length of its body, which is last."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    head: bytes


def target_of(url: str, headers: Mapping[str, str], method: str = "POST") -> Target:
    """The target behind an URL.  Raises ValueError for what cannot be written into a request."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _VISIBLE(url):
        raise ValueError(f"no http or https URL: {url!r}")
    parts.hostname.encode("idna")  # as the resolver will, which refuses an empty or a long label
    is_secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        "accept-encoding: identity",
        *(f"{name}: {value}" for name, value in headers.items()),
        "content-length: ",
    ]
    if not all(line.isprintable() for line in lines):
        raise ValueError("an unprintable character in a header")
    return Target(
        host=parts.hostname,
        port=parts.port or (443 if is_secure else 80),
        tls=_tls() if is_secure else None,
        head="\r\n".join(lines).encode("latin-1"),
    )


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context
