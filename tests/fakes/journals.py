"""What stands in the journals below a state directory, seen from outside."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.ports import StreamKind
from gateway.stores.posting import Posting
from gateway.stores.progress import Position
from gateway.stores.reading import JOURNALS, Stretch, read_batch, segment_numbers, segment_path
from gateway.stores.segment import Frame


def all_records(state_dir: Path) -> Iterator[Frame]:
    """Every record but those of the ledger, in order.

    Whether they are shipped makes no difference; the directories need not be locked.
    """
    return (frame for frame in _frames(state_dir) if frame.kind is not StreamKind.LEDGER)


def all_postings(state_dir: Path) -> Iterator[Posting]:
    """Every record of the ledger, likewise."""
    return (posting for _, posting in named_postings(state_dir))


def named_postings(state_dir: Path) -> Iterator[tuple[str, Posting]]:
    """The same, each with the cascade or model whose it is."""
    for frame in _frames(state_dir):
        if frame.kind is StreamKind.LEDGER:
            yield frame.cascade, msgspec.json.decode(frame.record, type=Posting)


def _frames(state_dir: Path) -> Iterator[Frame]:
    for folder in sorted((state_dir / JOURNALS).iterdir()):
        numbers = segment_numbers(folder)
        sizes = [(number, segment_path(folder, number).stat().st_size) for number in numbers]
        start, until = Position(0, 0), Position(2**62, 0)
        while True:
            batch = read_batch(Stretch(folder, sizes, start, until), lambda _: True)
            yield from (placed.frame for placed in batch.records)
            if batch.end == start:
                break
            start = batch.end
