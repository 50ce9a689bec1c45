from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from routing.promise import Promise, new_promise
from routing.promise.clusters import MOST_OPEN, MOST_TURNS, SETTLED_SECONDS
from routing.promise.state import Alarm
from routing.promise.telling import told_e
from routing.steering import Report
from tests.routing.promise.street import BATCH, TERMS, Street, merits, played, twofold


def shown(promise: Promise) -> Mapping[str, Any]:
    return promise.shown()


def lacking(promise: Promise) -> str:
    """The one thing that is missing."""
    (found,) = shown(promise)["missing"]
    return str(found)


def test_while_merits_are_gathered_it_says_how_many() -> None:
    promise = new_promise(TERMS).advance([merits(120)], 1.0)
    assert promise.standing.line == (
        "quality: escalate all, to see 200 merits before anything is proven "
        "(120 so far, epoch 1; at most 0.1 with probability 0.9)"
    )
    found = shown(promise)
    assert (found["state"], found["gathered"], found["bound"]) == ("gathering", 120, None)
    assert found["missing"] == ["80 more judged requests, to make the levels"]
    assert found["evidence"] is found["detectors"] is None


def test_while_all_is_held_it_says_what_the_next_level_needs() -> None:
    promise = played(400).promise
    assert promise.standing.line.startswith(
        "quality: escalate all, at most 0.1 with probability 0.9 (epoch 2, level 5 of 50 next, e = "
    )
    assert promise.standing.line.endswith(" of 10.5 after 200 requests, 200 grades)")
    found = shown(promise)
    assert (found["state"], found["threshold"], found["bound"]) == ("holding", None, None)
    assert lacking(promise).startswith("about ")
    assert found["evidence"]["needed_log10"] == pytest.approx(1.022, abs=1e-3)
    assert [each["level"] for each in found["evidence"]["around"]] == [5, 6, 7, 8]


def test_the_labels_that_are_missing_are_those_of_the_law() -> None:
    epoch_of_none = new_promise(TERMS).advance([merits(200)], 1.0)
    assert lacking(epoch_of_none) == "grades of the 10% of drafts with the highest merit"
    found = lacking(Street(risk=lambda merit: 0.0).runs(250))
    # 2.8 / -log(1 - 0.1) = 26.6 grades of the upper tenth, of which few were seen so far.
    assert found.startswith("about ")
    count = int(found.split()[1].replace(",", ""))
    assert 150 < count < 266


def test_a_student_that_is_too_poor_is_called_so() -> None:
    found = lacking(Street(risk=lambda merit: 0.3).runs(800))
    assert found.startswith("a better student: of the 10% of drafts with the highest")
    assert "differ or got no answer from the teacher, and 10.0% may: look at" in found


def test_what_is_certified_and_held_back_says_why() -> None:
    street = Street(promise=new_promise(replace(TERMS, release=1.0, hold_at_most=9_999)))
    while (epoch := street.promise.state.epoch) is None or epoch.certified < 0:
        street.runs(BATCH)
        assert street.second < 60
    found = shown(street.promise)
    assert lacking(street.promise).startswith(
        "the certified level keeps much less than looks possible"
    )
    assert found["evidence"]["certified"] == epoch.certified + 1
    assert found["evidence"]["level"] is None


def test_a_released_promise_says_level_evidence_and_audits() -> None:
    promise = played(3_000).promise
    state = promise.state
    assert state.epoch is not None
    line = promise.standing.line
    assert line.startswith(f"quality: keep from {promise.standing.threshold:.4g}, at most 0.1 with")
    assert f"level {state.epoch.in_force + 1} of 50, e = " in line
    assert line.endswith(f" >= 10.5 after 2,800 requests), audits {state.audit:.1%} of kept")
    found = shown(promise)
    assert (found["state"], found["bound"], found["missing"]) == ("released", 0.1, [])
    assert found["threshold"] == promise.standing.threshold
    assert found["evidence"]["level"] == state.epoch.in_force + 1
    assert found["promise"] == (
        "with probability 0.9, at most 0.1 of the kept drafts would have come out differently"
    )
    assert found["detectors"]["kept"]["reference"] == 0.1
    assert found["detectors"]["deferred"] is None
    assert found["evidence"]["looks_possible"] >= found["evidence"]["level"]


def test_where_no_other_conversation_has_room_it_says_so_even_if_all_have_bet() -> None:
    promise = new_promise(TERMS).advance([merits(200)], 1.0)
    names = {f"{place}": MOST_TURNS for place in range(MOST_OPEN)}
    nearly = dict(list(names.items())[1:])
    assert (
        len(shown(promise.advance([Report("b", 1, 2.0, 1.0, turns=nearly)], 2.0))["missing"]) == 1
    )
    promise = promise.advance([Report("b", 1, 2.0, 1.0, turns=names)], 2.0)
    found = shown(promise.advance([], 2.0 + SETTLED_SECONDS))
    assert found["evidence"]["open_conversations"] == 0
    assert found["missing"][1].startswith("room for conversations: 5,000 names are known")


def test_both_tests_are_shown_once_there_are_two() -> None:
    found = shown(played(3_500, twofold).promise)
    assert found["detectors"]["deferred"]["reference"] == pytest.approx(0.42, abs=0.03)
    assert found["detectors"]["is_boosted"] is False


def test_where_nothing_looks_possible_it_says_none() -> None:
    assert shown(Street(risk=lambda merit: 0.3).runs(800))["evidence"]["looks_possible"] is None


def test_the_last_alarm_is_said_until_the_promise_is_earned_again() -> None:
    state = played(400).promise.state
    alarm = Alarm(7.0, "deferred", 2, 0.5)
    promise = Promise(replace(state, alarms=(alarm,), alarm_count=21, attempt=2))
    assert "escalate all since the alarm of deferred drafts, " in promise.standing.line
    assert shown(promise)["alarms"] == [
        {"at": 7.0, "which": "deferred", "epoch": 2, "threshold": 0.5}
    ]
    assert (shown(promise)["alarm_count"], shown(promise)["attempt"]) == (21, 2)


def test_more_audits_for_suspicion_are_said_in_the_line() -> None:
    street = played(3_000)
    assert "suspicious" not in street.promise.standing.line
    street.risk = lambda merit: 0.3
    while (watch := street.promise.state.watch) is None or not watch.is_boosted(TERMS):
        street.runs(BATCH)
        assert street.second < 120
    said = f"audits {street.promise.standing.audit:.1%} of kept: up to 10 times as many, as it is"
    assert said in street.promise.standing.line


@pytest.mark.parametrize(
    ("logarithm", "told"),
    [(0.0, "1"), (3.45, "31.5"), (8.0, "2,981"), (900.0, "over a million")],
)
def test_evidence_is_a_number_that_people_read(logarithm: float, told: str) -> None:
    assert told_e(logarithm) == told
