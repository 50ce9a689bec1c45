import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import PolicyError
from routing.promise.head_start import (
    head_start_document,
    head_start_from_document,
    head_start_of,
)
from routing.promise.terms import SIXTEENTHS

SHARES = st.floats(0.0, 1.0)
RECORDS = st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=40)


@given(st.lists(SHARES, min_size=1, max_size=40), RECORDS)
def test_what_is_written_is_read_again(
    fitted: list[float], checked: list[tuple[float, float]]
) -> None:
    start = head_start_of(fitted, checked)
    written = json.loads(json.dumps(head_start_document(start), allow_nan=False))
    assert head_start_from_document(written) == start


@given(st.lists(SHARES, min_size=1, max_size=40), RECORDS)
def test_no_record_is_lost_and_no_loss_made_smaller(
    fitted: list[float], checked: list[tuple[float, float]]
) -> None:
    start = head_start_of(fitted, checked)
    assert start.records == len(checked)
    assert start.below == sum(merit < min(fitted) for merit, _ in checked)
    told = sum(step * records for row in start.counts for step, records in enumerate(row))
    losses = [loss for merit, loss in checked if merit >= min(fitted)]
    assert sum(losses) <= told / SIXTEENTHS <= sum(losses) + len(losses) / SIXTEENTHS


def document() -> dict[str, Any]:
    return {"thresholds": [0.9, 0.5], "losses": [[[0, 30], [16, 1]], [[4, 2]]], "below": 7}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda told: told.pop("below"), "start: lacks below"),
        (lambda told: told.update(more=1), "start: has unknown keys: more"),
        (lambda told: told.update(below=-1), "start.below: must be a whole number"),
        (lambda told: told.update(thresholds=["a", 0.5]), r"start.thresholds\[0\]: must be"),
        (lambda told: told["losses"].pop(), "start.losses: must have 2 entries"),
        (lambda told: told["losses"][0].append([0, 3]), r"start.losses\[0\]\[2\]: counts 0 six"),
        (lambda told: told["losses"][0].append([3]), r"start.losses\[0\]\[2\]: must be sixteen"),
        (lambda told: told["losses"][0].append([17, 1]), r"start.losses\[0\]\[2\]: must be at"),
        (lambda told: told["losses"][0].append([5, 0]), r"start.losses\[0\]\[2\]: must be a wh"),
        (lambda told: told["losses"][0].append("5"), r"start.losses\[0\]\[2\]: must be a list"),
    ],
)
def test_what_is_damaged_is_refused_by_its_path(
    damage: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    told = document()
    damage(told)
    with pytest.raises(PolicyError, match=f"^{complaint}"):
        head_start_from_document(told, "start")


def test_nothing_to_prove_anything_is_refused() -> None:
    with pytest.raises(PolicyError, match="there must be records"):
        head_start_of([0.5], [])
