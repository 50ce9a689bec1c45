"""Parts without Redis, and the data sets that come of them."""

import json
from collections.abc import Iterable
from typing import Any

from distill.card import Card
from distill.deletions import Deletions
from distill.pairs import read_pair
from distill.rows import Format
from tests.fakes.pairs import encoded
from understudy.pairs.choice import Choice
from understudy.pairs.consolidation import Task, consolidate_parts
from understudy.pairs.manners import manners_by
from understudy.pairs.parts import Buffer
from understudy.pairs.places import Place
from understudy.pairs.sealed import Opener, Seals

ALL_FORMATS = tuple(Format)


def write_parts(place: Place, *parts: Iterable[dict[str, Any]]) -> None:
    """Write each of the groups of records as a part."""
    for number, records in enumerate(parts):
        buffers: dict[str, Buffer] = {}
        for record in records:
            read = read_pair(encoded(record))
            buffers.setdefault(read.cascade, Buffer()).add(read, "0-0", 1)
        for cascade, buffer in buffers.items():
            buffer.write(place, cascade, str(number))


def consolidated(
    place: Place,
    choice: Choice | None = None,
    *,
    cascade: str | None = None,
    wishes: dict[str, Deletions] | None = None,
    opener: Opener | None = None,
) -> Card:
    """Make the data set of a place's parts, into `dataset` there."""
    choice = choice or Choice()
    out = Place(place.filesystem, place.path("dataset"))
    task = Task(place, out, choice, cascade, wishes or {}, manners_by(choice), Seals(opener))
    return consolidate_parts(task, lambda *_: None)


def rows_of(place: Place, name: str) -> list[dict[str, Any]]:
    """The rows of a file of the data set; none where there is no such file."""
    if not place.matching(f"dataset/{name}"):
        return []
    with place.reading(f"dataset/{name}") as file:
        return [json.loads(line) for line in file]


def ids_of(place: Place, form: Format = Format.SFT) -> list[int]:
    """The numbers of the pairs on both sides, in order."""
    return sorted(ids_on(place, "train", form) + ids_on(place, "holdout", form))


def ids_on(place: Place, side: str, form: Format = Format.SFT) -> list[int]:
    """The numbers of the pairs on one side, as the file has them."""
    return [int(row["id"], 16) for row in rows_of(place, f"{form.value}-{side}.jsonl")]


def left_out(card: Card, step: str, form: Format | None = None) -> dict[str, int]:
    """What a step of the card left out."""
    told = card.document()
    steps = told["steps"] if form is None else told["formats"][form.value]["steps"]
    (found,) = (each["left_out"] for each in steps if each["step"] == step)
    return dict(found)
