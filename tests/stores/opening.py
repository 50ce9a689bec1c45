"""A journal in a folder, as the gateway opens it; and what stands in one."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.stores.holdings import Holdings
from gateway.stores.journal import Journal, JournalOptions
from gateway.stores.progress import Lane, Position
from gateway.stores.reading import Batch, Limits, Placed
from tests.fakes.pair_events import RememberingEvents

MAX_BYTES = 10_000
NOW = 1000.0
_numbers = itertools.count()


def new_name() -> str:
    return f"d{next(_numbers):04d}"


@dataclass
class Opened:
    """A journal with all that belongs to it; its clock stands where ``now`` says."""

    journal: Journal
    holdings: Holdings
    events: RememberingEvents
    now: float = NOW

    def lane(self) -> Lane:
        """The streams that are not behind."""
        return self.holdings.own.progress.lanes()[-1]

    def read(self, records: int = 1000) -> Batch:
        return self.holdings.own.read(self.lane(), Limits(records=records))

    def ship(self, records: int = 1000) -> Position:
        """Count the next records as shipped, without a server that could have them."""
        batch = self.read(records)
        self.holdings.own.progress.advance(self.lane(), batch.end, {})
        return batch.end

    def ids(self, records: int = 1000) -> list[int]:
        return ids(self.read(records).records)

    def is_writable(self) -> bool:
        return self.journal.has_room

    def close(self) -> None:
        self.journal.close()
        self.holdings.close()


def opened(
    folder: Path,
    max_bytes: int = MAX_BYTES,
    *,
    segment_bytes: int = 2**20,
    fsync_seconds: float = 60.0,
) -> Opened:
    events = RememberingEvents()
    holdings = Holdings(folder, new_name, max_bytes, events)
    options = JournalOptions(max_bytes, fsync_seconds, segment_bytes)
    found: list[Opened] = []
    clock: Callable[[], float] = lambda: found[0].now if found else NOW  # noqa: E731
    found.append(Opened(Journal(holdings.own, holdings, options, events, clock), holdings, events))
    return found[0]


@contextlib.contextmanager
def journal_in(folder: Path, max_bytes: int = MAX_BYTES, **options: float) -> Iterator[Opened]:
    """The same, closed at the end."""
    one = opened(folder, max_bytes, **options)  # type: ignore[arg-type]  # int and float
    try:
        yield one
    finally:
        one.close()


def ids(records: Sequence[Placed]) -> list[int]:
    return [json.loads(placed.frame.record)["id"] for placed in records]


def record(number: int, padding: int = 0, **more: object) -> bytes:
    return json.dumps({"id": number, "x": "x" * padding} | more).encode()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("journals/*/*.seg"))
