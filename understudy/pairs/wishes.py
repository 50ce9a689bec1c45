"""What was asked to be deleted, kept beside the parts, so that it holds without Redis too.

Each exporter writes all wishes that it knows and all that stand here, which a Redis that was
replaced may not know, under the id of the last; what others wrote before is then contained in it,
and goes.
"""

from collections.abc import Mapping, Sequence

import msgspec

from distill.deletions import Deletion, Deletions
from understudy.pairs.places import Place
from understudy.pairs.store import Log
from understudy.telling import CommandError

FOLDER = "deletions"

_line = msgspec.json.Decoder(Deletion)


def save_deletions(place: Place, log: Log, last: str) -> None:
    """Write all wishes about a cascade, of which ``last`` is the id of the newest.

    Raises CommandError where what stands there cannot be read.
    """
    folder = f"{FOLDER}/cascade={log.cascade}"
    name = f"{folder}/until-{_sortable(last)}.jsonl"
    before = place.matching(f"{folder}/until-*.jsonl")
    known = [deletion for each in before for deletion in _saved_in(place, each)]
    known += [deletion for _, deletion in log.deletions()]
    with place.writing(name) as file:
        for deletion in dict.fromkeys(known):
            file.write(msgspec.json.encode(deletion) + b"\n")
    for each in before:
        if each < name:
            place.remove(each)


def saved_deletions(place: Place) -> Mapping[str, Deletions]:
    """What is kept beside the parts, by cascade.  Raises CommandError where it cannot be read."""
    found: dict[str, Deletions] = {}
    for name in place.matching(f"{FOLDER}/cascade=*/until-*.jsonl"):
        cascade = name.split("/")[1].removeprefix("cascade=")
        found.setdefault(cascade, Deletions()).add(_saved_in(place, name))
    return found


def _saved_in(place: Place, name: str) -> Sequence[Deletion]:
    try:
        with place.reading(name) as file:
            return [_line.decode(line) for line in file.read().splitlines() if line.strip()]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{place.path(name)}: is no list of deletions: {error}: put a copy of it in its place, "
            "because what it was to delete would be in the data set"
        ) from None


def _sortable(entry: str) -> str:
    """An entry's id, so written that names sort as ids do."""
    milliseconds, _, sequence = entry.partition("-")
    return f"{int(milliseconds):016d}-{int(sequence or 0):010d}"
