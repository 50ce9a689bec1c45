"""What no reader understands, kept beside the parts: it may be of a newer version.

Whose it is can often be read all the same, so that deletions reach it.
"""

from collections.abc import Mapping, Sequence

import msgspec

from distill.deletions import Deletions
from distill.pairs import subject_of
from understudy.pairs.places import Place
from understudy.pairs.store import Entry

FOLDER = "unreadable"


class _Line(msgspec.Struct):
    entry: str
    pair: str | None


_line = msgspec.json.Decoder(_Line)


def keep_unreadable(place: Place, cascade: str, name: str, entries: Sequence[Entry]) -> None:
    """Write entries of a cascade into a file of their own."""
    with place.writing(f"{FOLDER}/cascade={cascade}/entries-{name}.jsonl") as file:
        for entry in entries:
            text = None if entry.pair is None else entry.pair.decode(errors="backslashreplace")
            file.write(msgspec.json.encode(_Line(entry.id, text)) + b"\n")


def purge_unreadable(place: Place, wishes: Mapping[str, Deletions]) -> None:
    """Take what was to be deleted out of what is kept; ``wishes`` are by cascade."""
    for cascade, deletions in wishes.items():
        for name in place.matching(f"{FOLDER}/cascade={cascade}/entries-*.jsonl"):
            with place.reading(name) as file:
                lines = file.read().splitlines()
            kept = [line for line in lines if not _is_to_go(line, deletions)]
            if not kept:
                place.remove(name)
            elif len(kept) < len(lines):
                with place.writing(name) as file:
                    file.write(b"\n".join(kept) + b"\n")


def _is_to_go(line: bytes, deletions: Deletions) -> bool:
    try:
        text = _line.decode(line).pair or ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    subject = subject_of(text.encode())
    return subject is not None and deletions.concern(
        subject.request_id, subject.tenant, subject.time
    )
