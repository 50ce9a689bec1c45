"""What every section of the cascades' file is made of: no unknown key, and URLs one can ask."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the file.  It refuses what it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not parts.hostname or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("must name a host, in ASCII and without spaces")
    parts.hostname.encode("idna")  # refuses an empty or a long label
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user or password: name a key with api_key_env")
    if parts.port == 0:  # the property itself refuses what is no port
        raise ValueError("must not name port 0")
    return url


HttpUrl = Annotated[str, AfterValidator(_http_url)]
