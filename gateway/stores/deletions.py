"""What somebody asked to be deleted, as far as this process has read it, and which records that is.

By request: every record of it, whenever it was written.  By tenant: every record up to the time of
the deletion.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isnan

import msgspec

from gateway.stores.progress import Lane, Position
from gateway.stores.reading import Limits, Placed, Stretch, read_batch

Entry = tuple[bytes, Mapping[bytes, bytes] | None]


class _Subject(msgspec.Struct):
    request_id: str | None = None
    tenant: str | None = None
    time: float = 0.0


_subject = msgspec.json.Decoder(_Subject)


class Deletions:
    """All deletions by cascade.  They are small, and never forgotten: about 100 bytes each."""

    def __init__(self) -> None:
        self._requests: dict[str, set[str]] = {}
        self._tenants: dict[str, dict[str, float]] = {}
        self._read: dict[str, bytes] = {}

    @property
    def cascades(self) -> set[str]:
        """Those of which something is to be deleted."""
        return self._requests.keys() | self._tenants.keys()

    def next_of(self, cascade: str) -> str:
        """From where its stream of deletions is to be read, as XRANGE wants it."""
        last = self._read.get(cascade)
        return "-" if last is None else f"({last.decode()}"

    def learn(self, cascade: str, entries: Sequence[Entry]) -> bool:
        """Take what was read; whether there is anything in it.  What makes no sense is passed."""
        is_any = False
        for entry_id, fields in entries:
            self._read[cascade] = entry_id
            if not fields:
                continue
            request_id, tenant = fields.get(b"request_id"), fields.get(b"tenant")
            if request_id:
                self._requests.setdefault(cascade, set()).add(request_id.decode("utf-8", "replace"))
                is_any = True
            if tenant:
                try:
                    until = float(fields.get(b"time", b""))
                except ValueError:
                    continue
                if isnan(until):  # it would stand above all others and concern nothing
                    continue
                tenants = self._tenants.setdefault(cascade, {})
                name = tenant.decode("utf-8", "replace")
                tenants[name] = max(until, tenants.get(name, until))
                is_any = True
        return is_any

    def has(self, cascade: str, record: bytes) -> bool:
        """Whether that record is to be deleted."""
        requests, tenants = self._requests.get(cascade), self._tenants.get(cascade)
        if not requests and not tenants:
            return False
        try:
            subject = _subject.decode(record)
        except (msgspec.MsgspecError, RecursionError):
            return False
        if requests and subject.request_id in requests:
            return True
        until = tenants.get(subject.tenant) if tenants and subject.tenant is not None else None
        return until is not None and subject.time <= until


def blank_matching(
    stretch: Stretch, is_to_go: Callable[[Placed], bool], blank: Callable[[Placed], None]
) -> int:
    """Blank all records that are to go in a whole stretch; how many.  Raises OSError.

    For a thread of its own: it reads everything.
    """
    count = 0
    everything = Lane(Position(0, 0), frozenset(), False)
    start = stretch.start
    while True:
        rest = Stretch(stretch.folder, stretch.sizes, start, stretch.until)
        batch = read_batch(rest, everything.has, Limits())
        for placed in batch.records:
            if is_to_go(placed):
                blank(placed)
                count += 1
        if batch.end == start:
            return count
        start = batch.end
