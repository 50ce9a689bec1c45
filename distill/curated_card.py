"""The card of a curated data set: its source's card, with the steps that curating added.

So every pair that was ever read is accounted for in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.card import Step, Written, step_document, written_document
from distill.causes import Cause
from distill.curating import ANSWER_CAUSES, DUPLICATE_CAUSES, HOLDOUT_CAUSES, Screened
from distill.dataset import DataError

NOTE = (
    "curated: by reason, version, tenant and length the rows are told of in the card of the data "
    "set that this one was made of"
)


@dataclass(frozen=True, slots=True)
class CuratedFormat:
    """One format after curating: what both steps of choosing left out, and the files."""

    form: str
    screened: Screened
    balanced: Screened
    files: Sequence[Written]


def curated_card(
    source: Mapping[str, Any],
    made_at: str,
    curation: Mapping[str, Any],
    formats: Sequence[CuratedFormat],
) -> dict[str, Any]:
    """The document.  ``source`` is the card's; formats that are not given are left out of it.

    Raises DataError where the card's counts and the files do not add up.
    """
    document = dict(source)
    others = sorted(set(source["formats"]) - {made.form for made in formats})
    document["made_at"] = made_at
    document["curation"] = dict(curation)
    document["formats"] = {made.form: _made(source["formats"][made.form], made) for made in formats}
    notes = [note for note in source.get("notes", ()) if note != NOTE]
    for form in others:
        notes.append(f"{form}: is not curated, and not in this data set")
    for made in formats:
        if not made.files:
            notes.append(f"{made.form}: nothing is left to learn from")
    document["notes"] = [*notes, NOTE]
    return document


def _made(before: Mapping[str, Any], made: CuratedFormat) -> dict[str, Any]:
    rows = before["steps"][-1]["out"]
    steps = []
    for name, causes, left_out in (
        ("holdout", HOLDOUT_CAUSES, made.screened.left_out),
        ("answers", ANSWER_CAUSES, made.screened.left_out),
        ("duplicates", DUPLICATE_CAUSES, made.screened.left_out),
        ("balance", (Cause.OVER_CLUSTER_CAP,), made.balanced.left_out),
    ):
        step = Step(name, rows, {cause.value: left_out[cause] for cause in causes})
        steps.append(step_document(step))
        rows = step.came_out
    written = sum(each.rows for each in made.files)
    if rows != written:
        raise DataError(
            f"{made.form}: {rows} rows are accounted for, and {written} are there: the card is not "
            "of these files"
        )
    return {
        "steps": [*before["steps"], *steps],
        "files": [written_document(each) for each in made.files],
    }
