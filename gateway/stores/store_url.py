"""Where the store is, from its URL: one server, a node of a cluster, or what sentinels watch.

    redis://[USER:PASSWORD@]HOST:PORT[/DB]                  rediss:// for TLS, unix:// for a socket
    redis+sentinel://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]/SERVICE[/DB]     rediss+sentinel://

A query has the options of Redis' client, such as ``ssl_ca_certs``.  No message tells any part of an
URL: it may hold a password.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_PORT = 6379
SENTINEL_PORT = 26379
CONNECT_SECONDS = 2.0
REPLY_SECONDS = 4.0


class BadStoreUrl(ValueError):
    """The URL is no use; the message says what is."""


class Address(NamedTuple):
    """A host and a port; of a socket's path the port is 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """``addresses`` are those of sentinels where ``service`` says what to ask them for.

    The options are those of connections, without host and port.
    """

    addresses: Sequence[Address]
    options: Mapping[str, Any] = field(repr=False)
    service: str | None = None
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_store_url(url: str) -> StoreUrl:
    """Understand an URL.  Raises BadStoreUrl."""
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith("+sentinel"):
            return _sentinels(parts)
        options = _options(url)
    except BadStoreUrl:
        raise
    except (ValueError, TypeError, AttributeError):
        raise BadStoreUrl(_FORMS) from None
    address = Address(options.pop("host", "localhost"), options.pop("port", REDIS_PORT))
    if "path" in options:
        address = Address(options["path"], 0)
    return StoreUrl((address,), options)


_FORMS = (
    "is no Redis URL: write it as redis://[USER:PASSWORD@]HOST:PORT/0, rediss:// for TLS, or "
    "redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE"
)


def _sentinels(parts: SplitResult) -> StoreUrl:
    credentials, at, hosts = parts.netloc.rpartition("@")
    service, _, database = unquote(parts.path.strip("/")).partition("/")
    if not service or not hosts:
        raise BadStoreUrl(_FORMS)
    addresses = []
    for each in hosts.split(","):
        host = urlsplit(f"//{each}")
        if not host.hostname:
            raise BadStoreUrl(_FORMS)
        addresses.append(Address(host.hostname, host.port or SENTINEL_PORT))
    scheme = parts.scheme.removesuffix("+sentinel")
    options = _options(f"{scheme}://{credentials}{at}sentinel/{database or 0}?{parts.query}")
    options.pop("host")
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    return StoreUrl(addresses, options, service, {**options, "db": 0, **own})


def _options(url: str) -> dict[str, Any]:
    """What the client makes of an URL, and what is ours to say."""
    given: dict[str, Any] = dict(parse_url(url))
    options = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        **given,
        # Whoever sends says when to try again: a client that did would add records twice.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }
    kind = options.get("connection_class", Connection)
    known = {
        name: value
        for name, value in options.items()
        if name not in ("connection_class", "max_connections", "sentinel_username",
                        "sentinel_password")
    }  # fmt: skip
    try:
        kind(**known)
    except TypeError:
        raise BadStoreUrl(
            "has an option in its query that Redis' client does not know: remove it"
        ) from None
    return options
