"""What stands in the journals below a state directory, seen from outside."""

from collections.abc import Iterator
from pathlib import Path

from gateway.stores.progress import Position
from gateway.stores.reading import JOURNALS, Stretch, read_batch, segment_numbers, segment_path
from gateway.stores.segment import Frame


def all_records(state_dir: Path) -> Iterator[Frame]:
    """Every record, in order.

    Whether they are shipped makes no difference; the directories need not be locked.
    """
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
