"""What every section of the cascades' file is made of: no unknown key, and URLs one can ask."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag


class Section(BaseModel):
    """A part of the file.  It refuses what it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _http_url(url: str) -> str:
    """The URL, if the gateway can put its paths behind it.  No message tells any part of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be an URL such as http://HOST:PORT/v1, its port a number") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not parts.hostname or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("must name a host, in ASCII and without spaces")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("must name a host: a label of it is empty or too long") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user or password: name a key with api_key_env")
    if port == 0:
        raise ValueError("must not name port 0: name the server's, or none")
    if "?" in url or "#" in url:
        raise ValueError(
            "must have no query and no fragment, for the gateway puts its paths behind it: remove "
            "what begins with '?' or '#'"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("must end before /chat/completions, which the gateway adds: remove that")
    return url


HttpUrl = Annotated[str, AfterValidator(_http_url)]

MAX_SERVERS = 64


ONE, SEVERAL = "one", "several"


def _different(urls: tuple[str, ...]) -> tuple[str, ...]:
    plain = [url.rstrip("/") for url in urls]
    for url in plain:
        if plain.count(url) > 1:
            raise ValueError(f"must name each server once, got {url} twice: remove one")
    return urls


def _how_many(value: object) -> str:
    return SEVERAL if isinstance(value, list | tuple) else ONE


# One address, or a list of them.
HttpUrls = Annotated[
    Annotated[HttpUrl, Tag(ONE)]
    | Annotated[
        tuple[HttpUrl, ...],
        Field(min_length=1, max_length=MAX_SERVERS),
        AfterValidator(_different),
        Tag(SEVERAL),
    ],
    Discriminator(_how_many),
]
