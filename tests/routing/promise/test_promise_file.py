import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.errors import PolicyError
from routing.promise import new_promise, promise_from_document
from routing.promise.clusters import MOST_TURNS, REPORT_SECONDS
from routing.steering import Report
from tests.routing.promise.street import TERMS, Street, falling, graded, played, twofold

Path = tuple[str | int, ...]


@cache
def full() -> str:
    """A document with a part of every kind: alarms, a watch of both sides, conversations."""
    street = played(3_500, twofold)
    promise = street.promise
    told = [graded(0.5, 1.0, promise.standing.epoch, conversation="x")]
    turns = {"x": 1, "y": 1, "z": MOST_TURNS}
    report = Report("b", 1, 1.0, 1.0, judged=2, grades=told, turns=turns)
    document = dict(promise.advance([report], float(street.second)).document())
    document["alarms"] = [{"at": 1.0, "which": "kept", "epoch": 1, "threshold": 0.5}]
    document["alarm_count"] = 30
    return json.dumps(document, allow_nan=False)


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """The path of every part of it."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    if isinstance(value, list):
        for place, each in enumerate(value):
            yield from places(each, (*path, place))


def every_place() -> st.SearchStrategy[Path]:
    return st.sampled_from([path for path in places(json.loads(full())) if path])


def damaged(path: Path, value: object) -> dict[str, Any]:
    document: Any = json.loads(full())
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    found: dict[str, Any] = document
    return found


def test_what_is_read_is_written_again_as_it_was() -> None:
    found = promise_from_document(json.loads(full()), TERMS)
    assert json.loads(json.dumps(found.document(), allow_nan=False)) == json.loads(full())
    assert found.state.watch is not None
    assert found.state.watch.deferred is not None
    assert found.state.epoch is not None
    assert found.state.epoch.clusters["x"].items


def test_it_is_small_enough_to_be_written_every_second() -> None:
    assert len(json.dumps(played(3_000).promise.document())) < 20_000


def test_a_conversation_in_it_takes_few_bytes() -> None:
    promise = played(500).promise
    turns = {f"{place:032x}": 1 for place in range(1_000)}
    more = promise.advance([Report("b", 1, 1.0, 1.0, judged=1_000, turns=turns)], 10.0)
    grown = len(json.dumps(more.document())) - len(json.dumps(promise.document()))
    assert grown < 60 * 1_000


@settings(max_examples=2 * settings().max_examples)
@given(
    st.deferred(every_place),
    st.sampled_from([None, "x", -1, 0, 10**30, 2.5, True, [], {}, -0.5, 1e300, [[]], [1, 2, 3]]),
)
def test_a_damaged_document_is_refused_or_can_be_gone_on_with(path: Path, value: object) -> None:
    try:
        promise = promise_from_document(damaged(path, value), TERMS)
    except PolicyError:
        return
    street = Street(promise, falling, second=10_000)
    street.runs(200)
    street.promise.shown()
    json.dumps(street.promise.document(), allow_nan=False)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("kind",), "spend", "schema_version: must be 1 of kind quality"),
        (("schema_version",), 2, "schema_version: must be 1 of kind quality"),
        (("revision",), -1, "revision: must be a whole"),
        (("number",), 2**60, "number: must be at most"),
        (("attempt",), 0, "attempt: must be a whole"),
        (("merits",), [1.5], r"merits\[0\]: must be at most 1"),
        (("epoch",), None, "watch: there is nothing to watch"),
        (("epoch", "thresholds", 0), 0.0, "epoch.thresholds: must strictly decrease"),
        (("epoch", "delta"), 0.0, "epoch.delta: must be above 0"),
        (("epoch", "wealth"), [], "epoch.wealth: must have 50 entries"),
        (("epoch", "wealth", 3), [0.0], r"epoch.wealth\[3\]: must have 4 entries"),
        (("epoch", "counts", "labels"), [1], "epoch.counts.labels: must have 51 entries"),
        (("epoch", "counts", "weights", 0), -1.0, "epoch.counts.weights: must not be negative"),
        (("epoch", "best"), [0.0], "epoch.best: must have 50 entries"),
        (("epoch", "is_released"), 1, "epoch.is_released: must be true or false"),
        (("epoch", "clusters", "x"), [1.0], "epoch.clusters.x: must say when"),
        (("epoch", "clusters", "x", 2), 0.0, "epoch.clusters.x: must be above 0"),
        (("epoch", "clusters", "x", 3), [1, 0.5], "epoch.clusters.x: must have 5 entries"),
        (("epoch", "clusters", "x", 3, 0), 51, "epoch.clusters.x: must be at most 50"),
        (("epoch", "full", "z"), [1.0], "epoch.full.z: must have 2 entries"),
        (("epoch", "full", "w"), [1.0, True], "epoch.full.w: there is no such conversation"),
        (("watch", "level"), 50, "watch.level: must be at most 49"),
        (("watch", "kept", "steps"), [], "watch.kept.steps: must be at least one"),
        (("watch", "kept", "reference"), 1.0, "watch.kept.reference: must be at most 0.99"),
        (("alarms", 0, "which"), "all", r"alarms\[0\].which: must be kept or deferred"),
        (("alarm_count",), 0, "alarm_count: must be a whole number of at least 1"),
        (("seen", "a"), [1], "seen.a: must have 2 entries"),
        (("audit",), 1.5, "audit: must be at most 1"),
    ],
)
def test_what_is_damaged_is_refused_by_its_path(path: Path, value: object, complaint: str) -> None:
    with pytest.raises(PolicyError, match=f"^{complaint}"):
        promise_from_document(damaged(path, value), TERMS)


@pytest.mark.parametrize("document", [None, [], {}, "{}"])
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(PolicyError, match=r"^promise: "):
        promise_from_document(document, TERMS)


def test_a_long_conversation_does_not_grow_it() -> None:
    promise = played(500).promise
    epoch = promise.standing.epoch
    for second in range(100):
        told = [graded(0.5, 0.0, epoch, conversation="x")]
        report = Report("b", second + 1, 1.0, 1.0, judged=1, grades=told, turns={"x": 1})
        promise = promise.advance([report], 10.0 + second)
    assert promise.state.epoch is not None
    assert len(promise.state.epoch.clusters["x"].items) <= MOST_TURNS + REPORT_SECONDS


def test_the_first_document_is_that_of_nothing() -> None:
    document = new_promise(TERMS).document()
    assert (document["epoch"], document["watch"], document["merits"]) == (None, None, [])
    assert promise_from_document(document, TERMS) == new_promise(TERMS)
