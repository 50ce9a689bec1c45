"""What was asked to be deleted, kept beside the parts, so that it holds without Redis too.

Each exporter writes all wishes that it knows, under the id of the last of them; what others wrote
before is then contained in it, and goes.
"""

from collections.abc import Iterable, Mapping

import msgspec

from distill.deletions import Deletion, Deletions
from understudy.pairs.places import Place
from understudy.pairs.store import Log

FOLDER = "deletions"

_line = msgspec.json.Decoder(Deletion)


def save_deletions(place: Place, log: Log, last: str) -> None:
    """Write all wishes about a cascade, of which ``last`` is the id of the newest."""
    folder = f"{FOLDER}/cascade={log.cascade}"
    name = f"{folder}/until-{_sortable(last)}.jsonl"
    before = place.matching(f"{folder}/until-*.jsonl")
    with place.writing(name) as file:
        for _, deletion in log.deletions():
            file.write(msgspec.json.encode(deletion) + b"\n")
    for each in before:
        if each < name:
            place.remove(each)


def saved_deletions(place: Place) -> Mapping[str, Deletions]:
    """What is kept beside the parts, by cascade."""
    found: dict[str, Deletions] = {}
    for name in place.matching(f"{FOLDER}/cascade=*/until-*.jsonl"):
        cascade = name.split("/")[1].removeprefix("cascade=")
        with place.reading(name) as file:
            found.setdefault(cascade, Deletions()).add(_deletions(file.read()))
    return found


def _deletions(lines: bytes) -> Iterable[Deletion]:
    return [_line.decode(line) for line in lines.splitlines() if line.strip()]


def _sortable(entry: str) -> str:
    """An entry's id, so written that names sort as ids do."""
    milliseconds, _, sequence = entry.partition("-")
    return f"{int(milliseconds):016d}-{int(sequence or 0):010d}"
