"""The pair log in Redis, as readers see it: one cascade's streams, page by page."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import redis
from cyclopts import Parameter

from distill.deletions import Deletion
from distill.pairs import Pair, read_audit, read_pair
from gateway.ports import StreamKind
from gateway.stores.redis_keys import deletions_key, pairs_key, stream_key
from understudy.connecting import connect
from understudy.telling import CommandError

PAGE_ENTRIES = 500
FIRST, LAST = "-", "+"

StreamName = Literal["pairs", "audits"]
Fields = Mapping[bytes, bytes]

_KEY = re.compile(r"understudy:\{([a-z0-9][a-z0-9._-]{0,63})\}:(?:pairs|audits)")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Source:
    """Where pairs are read.

    Parameters
    ----------
    redis_url
        The Redis that the gateway ships pairs to.
    cascade
        Which cascade's; needed where there are several.
    """

    redis_url: Annotated[str | None, Parameter(env_var="UNDERSTUDY_REDIS_URL")] = None
    cascade: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream; ``pair`` is None where somebody wrote something else there."""

    id: str
    pair: bytes | None


@dataclass(frozen=True, slots=True)
class Log:
    """One cascade's streams in one Redis."""

    client: redis.Redis
    cascade: str

    def key(self, stream: StreamName) -> str:
        """The key of one of the two streams of records."""
        return stream_key(StreamKind(stream), self.cascade)

    @property
    def deletions_key(self) -> str:
        """The key of the stream of what was asked to be deleted."""
        return deletions_key(self.cascade)

    def entries(self, stream: StreamName) -> Iterator[Entry]:
        """All entries, oldest first; a page of them is in memory at a time."""
        for page in self.pages(self.key(stream)):
            for each, fields in page:
                yield entry_of(each, fields)

    def pages(self, key: str, after: str | None = None) -> Iterator[Sequence[tuple[bytes, Fields]]]:
        """The entries of any stream, oldest first, in pages; those behind ``after`` alone."""
        start = FIRST if after is None else f"({after}"
        while True:
            # redis-py types replies for its synchronous and its asynchronous client at once.
            page = cast("Any", self.client.xrange(key, start, LAST, count=PAGE_ENTRIES))
            if not page:
                return
            yield page
            start = f"({page[-1][0].decode()}"

    def deletions(self, after: str | None = None) -> Iterator[tuple[str, Deletion]]:
        """What was asked to be deleted, with the ids of the entries; behind ``after`` alone."""
        for page in self.pages(self.deletions_key, after):
            for each, fields in page:
                yield each.decode(), _deletion(each, fields)

    def delete(self, deletion: Deletion) -> None:
        """Write down a wish, so that every shipper and reader honours it."""
        fields = {"time": f"{deletion.time:.6f}"}
        if deletion.request_id is not None:
            fields["request_id"] = deletion.request_id
        if deletion.tenant is not None:
            fields["tenant"] = deletion.tenant
        self.client.xadd(self.deletions_key, cast("Any", fields))


def read_of(stream: StreamName, record: bytes) -> Pair:
    """A record of one of the two streams.  Raises NoPair."""
    return read_audit(record) if stream == "audits" else read_pair(record)


def entry_of(each: bytes, fields: Fields) -> Entry:
    """An entry as the client gives it, in our words."""
    return Entry(each.decode(), fields.get(b"pair"))


def _deletion(each: bytes, fields: Fields) -> Deletion:
    try:
        return Deletion(
            time=float(fields[b"time"]),
            request_id=_text(fields.get(b"request_id")),
            tenant=_text(fields.get(b"tenant")),
        )
    except (KeyError, ValueError):
        raise CommandError(
            f"the entry {each.decode()} of the deletions is none: it needs time, and request_id or "
            "tenant; mend it, because what it was to delete would be exported"
        ) from None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


@contextmanager
def opened(source: Source, *, needs_stream: bool = True) -> Iterator[Log]:
    """The log of the chosen cascade.  Raises CommandError, and RedisError where Redis is away.

    ``needs_stream``: a named cascade must have pairs; without it only the name's form counts.
    """
    if not source.redis_url:
        raise CommandError("no Redis is named: set UNDERSTUDY_REDIS_URL or say --redis-url")
    client = connect(source.redis_url)
    try:
        if source.cascade is not None and not needs_stream:
            if not _KEY.fullmatch(pairs_key(source.cascade)):
                raise CommandError(f"--cascade: {source.cascade!r} cannot be a cascade's name")
            yield Log(client, source.cascade)
        else:
            yield Log(client, _chosen(cascades_in(client), source.cascade))
    finally:
        client.close()


def cascades_in(client: redis.Redis) -> list[str]:
    """The cascades that have a stream, by name."""
    found = (
        _KEY.fullmatch(key.decode(errors="replace"))
        for key in client.scan_iter("understudy:{*}:*", count=1000, _type="stream")
    )
    return sorted({match[1] for match in found if match})


def _chosen(found: Sequence[str], name: str | None) -> str:
    if not found:
        raise CommandError("this Redis has no pairs: no cascade has written any yet")
    told = ", ".join(found)
    if name is None:
        if len(found) > 1:
            raise CommandError(f"there are several cascades, {told}: choose one with --cascade")
        return found[0]
    if name not in found:
        raise CommandError(f"--cascade: there are no pairs of {name!r}, but of {told}")
    return name


def now() -> float:
    """Seconds since 1970, as records count them."""
    return time.time()
