"""Records from before the traffic, as a policy file carries them: levels, and counts of losses.

They shorten the hold of a promise, by about as many requests as there are records.  They must be
like the traffic, each drawn as often as any other, and labelled by the teacher and the comparator
of which the promise speaks.  As counts they serve whatever alpha.
"""

from collections.abc import Sequence
from math import ceil

from routing.document import count, items, mapping, numbers
from routing.errors import PolicyError
from routing.promise.grid import MOST_LEVELS, grid_of
from routing.promise.terms import SIXTEENTHS, HeadStart

MOST_RECORDS = 2**31
_KEYS = frozenset({"thresholds", "losses", "below"})


def head_start_of(fitted: Sequence[float], checked: Sequence[tuple[float, float]]) -> HeadStart:
    """From the merits of some records, and merit and loss in [0, 1] of others; neither is empty.

    No record may be in both: levels that were fixed by the records that are to prove something of
    them prove nothing.  Raises PolicyError where there is none to prove anything.
    """
    grid = grid_of(fitted)
    counts = [[0] * (SIXTEENTHS + 1) for _ in range(len(grid.thresholds) + 1)]
    for merit, loss in checked:
        counts[grid.bin_of(merit)][ceil(loss * SIXTEENTHS)] += 1
    *rows, below = counts
    return HeadStart(grid.thresholds, tuple(map(tuple, rows)), sum(below))


def head_start_document(start: HeadStart) -> dict[str, object]:
    """As the policy file has it; by level, pairs of sixteenths and how many records lost them."""
    return {
        "thresholds": list(start.thresholds),
        "losses": [
            [[step, records] for step, records in enumerate(row) if records] for row in start.counts
        ],
        "below": start.below,
    }


def head_start_from_document(document: object, path: str = "head_start") -> HeadStart:
    """What ``head_start_document`` wrote.  Raises PolicyError, which names the path."""
    fields = mapping(document, path, _KEYS)
    thresholds = numbers(fields["thresholds"], f"{path}.thresholds")
    losses = items(fields["losses"], f"{path}.losses", most=MOST_LEVELS)
    if len(losses) != len(thresholds):
        raise PolicyError(f"{path}.losses: must have {len(thresholds)} entries, one a threshold")
    return HeadStart(
        thresholds=thresholds,
        counts=tuple(_row(row, f"{path}.losses[{place}]") for place, row in enumerate(losses)),
        below=count(fields["below"], f"{path}.below", least=0, most=MOST_RECORDS),
    )


def _row(document: object, path: str) -> tuple[int, ...]:
    row = [0] * (SIXTEENTHS + 1)
    for place, told in enumerate(items(document, path, most=SIXTEENTHS + 1)):
        within = f"{path}[{place}]"
        pair = items(told, within)
        if len(pair) != 2:
            raise PolicyError(f"{within}: must be sixteenths, and how many records lost them")
        step = count(pair[0], within, least=0, most=SIXTEENTHS)
        if row[step]:
            raise PolicyError(f"{within}: counts {step} sixteenths for a second time")
        row[step] = count(pair[1], within, most=MOST_RECORDS)
    return tuple(row)
