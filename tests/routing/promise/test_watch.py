from dataclasses import replace

import pytest

from routing.promise.clusters import Cluster, Item
from routing.promise.detector import (
    BOOST,
    DEFERRED_FALSE_ALARMS,
    FALSE_ALARMS,
    SUSPICIOUS,
    WINDOW,
    Detector,
    new_detector,
)
from routing.promise.epoch import Counts, Epoch, new_epoch
from routing.promise.grid import Grid
from routing.promise.terms import Terms
from routing.promise.watch import (
    DEFERRED_MARGIN,
    LEAST_DEFERRED,
    Watch,
    losses_of,
    new_watch,
)
from tests.routing.promise.street import graded

TERMS = Terms(0.05, 0.05, audit_share=0.02)
GRID = Grid((0.8, 0.5, 0.2), (0.3, 0.6, 0.9))
AUDITS = 0.02 * WINDOW


def released(level: int) -> Epoch:
    best = tuple(9.0 if place <= level else 0.0 for place in range(3))
    return replace(new_epoch(GRID, 0.05), best=best, is_released=True)


def counts(*labels: int, risks: tuple[float, ...] = (0.02, 0.1, 0.3, 0.5)) -> Counts:
    weights = tuple(map(float, labels))
    losses = tuple(each * risk for each, risk in zip(weights, risks, strict=True))
    return Counts(weights, losses, labels)


def suspicious(extra: float = 0.0) -> Watch:
    watch = new_watch(released(0), TERMS)
    kept = replace(watch.kept, each=(SUSPICIOUS,) * 4, highest=SUSPICIOUS)
    return replace(watch, kept=kept, extra=extra)


def test_kept_drafts_are_held_against_alpha() -> None:
    assert new_watch(released(1), TERMS) == Watch(new_detector(0.05), level=1)


def test_deferred_drafts_are_watched_once_enough_is_known_of_them() -> None:
    watch = new_watch(released(0), TERMS)
    assert watch.at(0, counts(9_000, 0, 0, LEAST_DEFERRED - 1)) is watch
    known = watch.at(0, counts(9_000, 0, 0, LEAST_DEFERRED))
    assert known.deferred is not None
    assert known.deferred.reference == pytest.approx(0.5 + DEFERRED_MARGIN)
    worse = counts(9_000, 0, 0, 9_000, risks=(0.9, 0.9, 0.9, 0.9))
    assert known.at(0, worse) is known


def test_another_level_defers_others_whose_test_begins_anew() -> None:
    first = counts(1_000, 1_000, 1_000, 1_000)
    watch = new_watch(released(0), TERMS).at(0, first)
    assert watch.deferred is not None
    assert watch.deferred.reference == pytest.approx(0.3 + DEFERRED_MARGIN)
    watch = watch.after([(1.0, False)], TERMS, 1).at(1, counts(0, 0, 0, 0))
    assert watch.deferred is not None
    assert watch.deferred.reference == pytest.approx(0.4 + DEFERRED_MARGIN)
    assert watch.deferred.highest == 0.0


def test_what_nobody_deferred_before_has_no_test() -> None:
    watch = new_watch(released(0), TERMS).at(0, counts(0, 9_000, 0, 0))
    assert watch.at(1, counts(0, 9_000, 0, 0)).deferred is None


def test_each_test_takes_its_own_losses() -> None:
    watch = new_watch(released(0), TERMS).at(0, counts(0, 0, 0, 9_000))
    found = watch.after([(1.0, True), (0.0, False)], TERMS, 1)
    assert watch.deferred is not None
    assert found.kept == watch.kept.after(1.0)
    assert found.deferred == watch.deferred.after(0.0)
    untaught = new_watch(released(0), TERMS)
    assert untaught.after([(1.0, False)], TERMS, 1) == untaught


def test_nine_tenths_of_the_audits_of_a_suspicious_time_are_extra() -> None:
    watch = suspicious().after([(0.05, True)] * 10, TERMS, 1)
    assert watch.extra == pytest.approx(10 * (1.0 - 1.0 / BOOST))


def test_extra_audits_are_at_most_as_many_as_the_usual_ones_in_a_window() -> None:
    assert suspicious(AUDITS - 1.0).is_boosted(TERMS)
    assert not suspicious(AUDITS).is_boosted(TERMS)
    assert suspicious(AUDITS).after([], TERMS, WINDOW - 1).extra == AUDITS
    later = suspicious(AUDITS).after([], TERMS, WINDOW)
    assert (later.extra, later.window, later.is_boosted(TERMS)) == (0.0, 1, True)
    assert not new_watch(released(0), TERMS).is_boosted(TERMS)


@pytest.mark.parametrize(
    ("kept", "deferred", "said"),
    [
        (2 * AUDITS / FALSE_ALARMS, 0.0, "kept"),
        (2 * AUDITS / FALSE_ALARMS - 1, 0.0, None),
        (0.0, 0.4 * WINDOW / DEFERRED_FALSE_ALARMS, "deferred"),
        (0.0, 0.4 * WINDOW / DEFERRED_FALSE_ALARMS - 1, None),
    ],
)
def test_an_alarm_needs_what_is_too_rare_in_so_many_grades(
    kept: float, deferred: float, said: str | None
) -> None:
    found = [Detector(0.5, (0.1,), (0.0,), highest) for highest in (kept, deferred)]
    watch = Watch(found[0], 0, deferred=found[1])
    assert watch.alarm(TERMS, kept_share=0.6) == said
    assert Watch(new_detector(0.05), 0).alarm(TERMS, 0.6) is None


def test_of_single_grades_those_count_that_the_level_in_force_means() -> None:
    grades = [
        graded(0.6, 0.1, 1, is_kept=True),
        graded(0.3, 0.2, 1),
        graded(0.6, 0.3, 1),  # deferred before this level was in force
        graded(0.1, 0.4, 1, conversation="x"),
    ]
    assert losses_of(released(1), grades, ()) == [(0.1, True), (0.2, False)]


def test_a_conversation_counts_once_on_each_side() -> None:
    items = (Item(0, 1.0, 0.0, True), Item(0, 0.0, 0.0, True), Item(3, 0.3, 0.0, False))
    over = [Cluster(0.0, 3, 1.0, items), Cluster(0.0, 3, 1.0)]
    assert losses_of(released(1), (), over) == [(0.5, True), (0.3, False)]


def test_an_answer_that_did_not_come_is_no_fault_of_the_students() -> None:
    grades = [graded(0.6, 1.0, 1, is_kept=True), graded(0.3, 1.0, 1)]
    unanswered = [replace(grade, is_answered=False) for grade in grades]
    assert losses_of(released(1), unanswered, ()) == []
    items = (Item(0, 1.0, 0.0, True, False), Item(3, 1.0, 0.0, False, False))
    assert losses_of(released(1), (), [Cluster(0.0, 2, 1.0, items)]) == []
