import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.promise import Promise, head_start_of, new_promise, promise_from_document
from routing.promise.bets import log_values
from routing.promise.clusters import MOST_OPEN, Clusters, turned
from routing.promise.epoch import delta_of
from routing.promise.state import (
    GATHERED,
    LEAST_LEVELS,
    MOST_ALARMS,
    MOST_GATHERED,
    SILENT_SECONDS,
)
from routing.steering import KEEP_NOTHING, Controller, Grade, Report, Sample
from tests.routing.promise.street import (
    BATCH,
    TERMS,
    Street,
    falling,
    graded,
    merits,
    played,
    report,
    twofold,
)

GOOD = head_start_of(
    [place / 100 for place in range(100)],
    [(place / 500, float(place < 100 and place % 2)) for place in range(500)],
)


def gathered(revision: int = 0) -> Promise:
    """Levels are there, and nothing else."""
    return new_promise(TERMS, revision).advance([merits(GATHERED)], 1.0)


def good_street() -> Street:
    """A good student's, and its promise is released."""
    street = played(3_000)
    assert street.standing.threshold < KEEP_NOTHING
    return street


def released() -> Promise:
    return good_street().promise


def again(promise: Promise) -> dict[str, Any]:
    """Its document, as it comes back from a store."""
    found: dict[str, Any] = json.loads(json.dumps(promise.document(), allow_nan=False))
    return found


def test_a_promise_is_a_controller() -> None:
    controller: Controller = new_promise(TERMS)
    standing = controller.advance([], 1.0).standing
    assert (standing.threshold, standing.audit, standing.least) == (KEEP_NOTHING, 0.0, 1.0)


def test_nothing_is_kept_and_nothing_counts_while_merits_are_gathered() -> None:
    promise = new_promise(TERMS)
    report = replace(merits(GATHERED - 1), grades=[graded(0.9, 0.0, promise.standing.epoch)] * 500)
    found = promise.advance([report], 1.0)
    assert found.standing.threshold == KEEP_NOTHING
    assert found.state.epoch is None
    more = found.advance([merits(1, sequence=2)], 2.0)
    assert more.state.epoch is not None
    assert more.state.epoch.graded == 0


def test_grades_of_drafts_that_made_the_levels_prove_nothing_of_them() -> None:
    promise = new_promise(TERMS)
    late = [graded(0.9, 0.0, promise.standing.epoch)] * 500
    found = gathered().advance([report(2, late)], 2.0)
    assert found.state.epoch is not None
    assert found.state.epoch.graded == 0


@pytest.mark.simulated
def test_a_good_student_is_released_and_what_it_keeps_is_audited() -> None:
    street = good_street()
    standing = street.standing
    assert 0.3 < 1.0 - standing.threshold < 0.75
    assert standing.audit == pytest.approx(0.05 / (1.0 - standing.threshold), rel=0.25)
    assert standing.least == standing.audit
    assert standing.complete == TERMS.complete
    street.audits = 0
    street.runs(4_000)
    assert 120 < street.audits < 280  # a twentieth of all


def test_while_all_is_escalated_every_draft_is_finished() -> None:
    assert gathered().standing.complete == 1.0


def test_a_poor_student_keeps_nothing() -> None:
    street = Street(risk=lambda merit: 0.3)
    promise = street.runs(4_000)
    assert promise.standing.threshold == KEEP_NOTHING
    assert street.worst == 0.0


def test_audits_certify_further_levels_after_the_release() -> None:
    terms = replace(TERMS, release=0.1, audit_share=0.3, hold_at_most=9_999)
    street = Street(promise=new_promise(terms))
    while street.promise.standing.threshold == KEEP_NOTHING:
        street.runs(BATCH)
        assert street.second < 60
    first = street.promise.standing.threshold
    assert street.runs(2_000).standing.threshold < first - 0.03


@pytest.mark.simulated
def test_a_revision_names_one_standing() -> None:
    street = Street()
    seen: dict[int, tuple[float, ...]] = {}
    for _ in range(120):
        standing = street.runs(BATCH).standing
        held = (standing.epoch, standing.threshold, standing.audit, standing.complete)
        assert seen.setdefault(standing.revision, held) == held
    assert 3 <= len(seen) < 30
    assert list(seen) == sorted(seen)


def test_a_confident_error_ends_the_epoch_and_the_promise_is_earned_again() -> None:
    street = good_street()
    before = street.promise
    street.risk = lambda merit: min(1.0, falling(merit) + 0.4)
    while not street.promise.state.alarms:
        street.runs(BATCH)
        assert street.second < 80
    after = street.promise
    (alarm,) = after.state.alarms
    assert (alarm.which, alarm.epoch) == ("kept", before.standing.epoch)
    assert alarm.threshold < 1.0
    assert after.standing.threshold == KEEP_NOTHING
    assert after.standing.epoch > before.standing.epoch
    street.risk = falling
    earned = street.runs(3_000)
    assert earned.standing.threshold < KEEP_NOTHING
    assert earned.state.attempt == 2
    assert earned.state.epoch is not None
    assert earned.state.epoch.delta == delta_of(0.1, 2)


def test_more_is_audited_while_the_student_seems_to_get_worse() -> None:
    street = good_street()
    usual = street.standing.audit
    street.risk = lambda merit: falling(merit) + 0.15
    highest = max(street.runs(BATCH).standing.audit for _ in range(30))
    assert highest == pytest.approx(min(1.0, 10 * usual), rel=0.15)


def test_a_student_that_got_worse_where_all_is_escalated_is_found_too() -> None:
    street = played(3_500, twofold)
    assert street.standing.threshold < KEEP_NOTHING
    assert street.promise.state.watch is not None
    assert street.promise.state.watch.deferred is not None
    street.risk = lambda merit: 0.02 if merit > 0.7 else 0.6
    while not street.promise.state.alarms:
        street.runs(BATCH)
        assert street.second < 90
    assert street.promise.state.alarms[-1].which == "deferred"


def test_alarms_of_long_ago_are_forgotten_but_counted() -> None:
    promise = released()
    one = replace(promise.state, alarms=(), attempt=40)
    alarm = {"at": 1.0, "which": "kept", "epoch": 1, "threshold": 0.5}
    document = {
        **again(Promise(one)), "alarms": [alarm] * MOST_ALARMS, "alarm_count": MOST_ALARMS,
    }  # fmt: skip
    street = Street(promise=promise_from_document(document, TERMS), second=promise_at(promise))
    street.risk = lambda merit: 0.9
    found = street.runs(1_000).state
    assert (len(found.alarms), found.attempt) == (MOST_ALARMS, 41)
    assert found.alarm_count == MOST_ALARMS + 1
    assert found.alarms[-1].at > 1.0


def promise_at(promise: Promise) -> int:
    return promise.state.seen["a"][0]


def test_evidence_beyond_hope_is_given_up_and_a_student_that_got_better_earns_it_at_last() -> None:
    street = Street(risk=lambda merit: 0.9)
    while street.promise.state.attempt == 1:
        street.runs(BATCH)
        assert street.second < 120
    promise = street.promise
    assert (promise.state.alarms, promise.standing.threshold) == ((), KEEP_NOTHING)
    assert promise.standing.epoch > 2
    assert promise.state.epoch is None
    street.risk = falling
    earned = street.runs(3_000)
    assert earned.standing.threshold < KEEP_NOTHING
    assert earned.state.epoch is not None
    assert earned.state.epoch.delta == delta_of(0.1, 2)


# --- a head start ---


def test_records_of_the_past_release_at_once() -> None:
    promise = new_promise(replace(TERMS, head_start=GOOD))
    assert promise.standing.threshold < 0.4
    assert promise.standing.audit > 0.0
    assert promise.state.watch is not None


def test_records_that_prove_nothing_leave_the_hold() -> None:
    poor = head_start_of([0.1, 0.5, 0.9], [(0.9, 1.0), (0.2, 0.0)])
    promise = new_promise(replace(TERMS, head_start=poor))
    assert promise.standing.threshold == KEEP_NOTHING
    assert promise.state.epoch is not None


def test_an_alarm_voids_the_records_too() -> None:
    street = Street(promise=new_promise(replace(TERMS, head_start=GOOD)))
    street.risk = lambda merit: 0.9
    promise = street.runs(1_000)
    assert promise.standing.threshold == KEEP_NOTHING
    assert promise.state.epoch is not None
    assert promise.state.epoch.judged < 1_000


# --- reports ---


def grades_of(generator: random.Random, epoch: int) -> list[Grade]:
    names = [None, None, "x", "y"]
    return [
        graded(
            generator.random(), float(generator.random() < 0.1), epoch,
            conversation=generator.choice(names),
        )
        for _ in range(generator.randrange(40))
    ]  # fmt: skip


@given(st.randoms(use_true_random=False))
def test_in_which_order_replicas_are_heard_does_not_matter(generator: random.Random) -> None:
    promise = gathered()
    epoch = promise.standing.epoch
    reports = [
        replace(
            report(1, grades_of(generator, epoch), judged=9, replica=f"replica {place}"),
            turns={"x": 3, "y": 1},
        )
        for place in range(5)
    ]
    one = promise.advance(reports, 2.0).advance([], 1_000.0)
    other = promise.advance(generator.sample(reports, 5), 2.0).advance([], 1_000.0)
    assert one.state.epoch is not None
    assert other.state.epoch is not None
    assert list(log_values(one.state.epoch.wealth)) == pytest.approx(
        list(log_values(other.state.epoch.wealth)), abs=1e-9
    )
    assert one.state.epoch.counts.labels == other.state.epoch.counts.labels
    assert (one.standing.threshold, one.state.seen) == (other.standing.threshold, other.state.seen)


def test_a_report_that_comes_again_changes_nothing() -> None:
    street = good_street()
    promise = street.promise
    last = street.batch()
    once = promise.advance([last], 70.0)
    assert promise.advance([last, last], 70.0) == once
    assert once.advance([last], 70.0) == once
    assert once != promise


def test_a_grade_of_another_epoch_changes_nothing() -> None:
    promise = released()
    epoch, sequence = promise.standing.epoch, promise_at(promise) + 1
    for other in (epoch - 1, epoch + 1):
        told = promise.advance([report(sequence, [graded(0.9, 1.0, other)] * 500)], 61.0)
        assert told.state.epoch == promise.advance([report(sequence, [])], 61.0).state.epoch
        assert told.state.watch == promise.state.watch


def test_a_silent_replica_is_forgotten_after_a_day() -> None:
    promise = gathered()
    assert promise.advance([], SILENT_SECONDS).state.seen == {"a": (1, 1.0)}
    assert promise.advance([], SILENT_SECONDS + 1.0).state.seen == {}


def test_costs_of_audits_add_up() -> None:
    told = [Report("a", place, 1.0, 1.0, audited_pico=5) for place in (2, 3)]
    assert gathered().advance(told, 1.0).state.audited_pico == 10


def test_requests_that_are_alike_make_no_levels_before_others_were_waited_for() -> None:
    def told(place: int, *merits: float) -> Report:
        samples = [Sample(merit) for merit in merits]
        return Report("a", place, 1.0, 1.0, len(samples), samples=samples)

    alike = new_promise(TERMS).advance([told(1, *[0.5] * GATHERED)], 1.0)
    assert alike.state.epoch is None
    assert "too many are alike" in str(alike.shown()["missing"])
    unlike = [0.6 + place / 1_000 for place in range(GATHERED)]
    others = alike.advance([told(2, *unlike)], 2.0).state.epoch
    assert others is not None
    assert len(others.grid.thresholds) > LEAST_LEVELS
    rest = [0.5] * (MOST_GATHERED - GATHERED)
    all_alike = alike.advance([told(2, *rest, 0.9)], 2.0).state.epoch
    assert all_alike is not None
    assert all_alike.grid.thresholds == (0.5,)


# --- documents ---


@pytest.mark.simulated
@pytest.mark.parametrize("turns", [1, 5])
def test_whoever_reads_the_document_goes_on_where_it_was(turns: int) -> None:
    """While merits are gathered, while all is held, once it is released, and after the alarm."""
    terms = replace(TERMS, idle_seconds=3.0)
    street = Street(new_promise(terms), lambda merit: falling(merit) + 0.3 * (street.second > 70))
    street.turns = turns
    states = []
    for requests in (100, 300, 2_800, 1_600):
        promise = street.runs(requests)
        states.append(promise.shown()["state"])
        read = promise_from_document(again(promise), terms)
        assert read == promise
        fork = street.copy()
        batches = [fork.batch() for _ in range(4)]
        assert read.advance(batches, 300.0) == promise.advance(batches, 300.0)
    assert states == ["gathering", "holding", "released", "holding"]
    assert street.promise.state.alarms


@pytest.mark.parametrize(
    "changed", [{"subject": "student-2"}, {"alpha": 0.05}, {"delta": 0.05}, {"alpha": 0.2}]
)
def test_another_promise_is_earned_anew(changed: dict[str, Any]) -> None:
    before = released()
    found = promise_from_document(again(before), replace(TERMS, **changed))
    assert found.standing.threshold == KEEP_NOTHING
    assert found.standing.revision > before.standing.revision
    assert found.state.attempt == 1
    assert found.state.seen == before.state.seen


def test_no_grade_of_the_student_before_is_taken_for_one_of_the_next() -> None:
    before = released()
    terms = replace(TERMS, subject="student-2", head_start=GOOD)
    found = promise_from_document(again(before), terms)
    epochs = range(before.standing.epoch + 1)
    late = [graded(0.9, 1.0, epoch) for epoch in epochs]
    told = found.advance([report(promise_at(before) + 1, late)], 61.0)
    assert found.state.epoch is not None
    assert told.state.epoch is not None
    assert told.state.epoch.graded == found.state.epoch.graded


@pytest.mark.parametrize(
    "changed", [{"audit_share": 0.2}, {"release": 0.9}, {"hold_at_most": 9}, {"complete": 0.5}]
)
def test_what_is_earned_stays_where_only_the_way_to_earn_it_changes(
    changed: dict[str, Any],
) -> None:
    before = released()
    found = promise_from_document(again(before), replace(TERMS, **changed))
    assert found.standing.threshold == before.standing.threshold
    assert found.state.epoch == before.state.epoch


def test_a_new_promise_goes_on_from_the_revision_before() -> None:
    standing = new_promise(TERMS, 41).standing
    assert (standing.revision, standing.epoch) == (42, 42)


def test_a_flood_of_conversations_takes_neither_long_nor_much_room() -> None:
    """Three hundred reports of thirty names each, as after a while without the store."""
    turns = [{f"{second:020x}{place:012x}": 1 for place in range(30)} for second in range(300)]
    reports = [
        replace(report(second + 2, [], judged=30), turns=told) for second, told in enumerate(turns)
    ]
    copied = 0
    with pytest.MonkeyPatch.context() as patch:

        def counting(clusters: Clusters, *parts: Any) -> Clusters:
            nonlocal copied
            copied += len(clusters)
            return turned(clusters, *parts)

        patch.setattr("routing.promise.epoch.turned", counting)
        found = gathered().advance(reports, 300.0)
        found = found.advance([replace(reports[0], sequence=400, turns={"x": 1})], 301.0)
    assert copied <= MOST_OPEN
    assert found.state.epoch is not None
    assert len(found.state.epoch.clusters) == MOST_OPEN
    assert len(json.dumps(found.document())) < 400_000
