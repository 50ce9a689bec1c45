from dataclasses import dataclass

import numpy as np
import pytest

from evaluation.outcomes import Floats, Integers
from evaluation.promise.runs import BATCH, STEP, Seen, Size, seen_of, serve, simulate
from evaluation.promise.traffic import Traffic, mixed, traffic_of
from evaluation.simulate import population_of

FOUR = traffic_of(population_of([0.9, 0.6, 0.3, 0.1], [1, 1, 0, 0]))


@dataclass
class Fixed:
    """Keeps so many places from the ``since``-th batch on."""

    kept_then: Integers
    audit: Floats
    since: int = 0
    taken: int = 0

    @property
    def kept(self) -> Integers:
        return self.kept_then if self.taken >= self.since else np.zeros_like(self.kept_then)

    def take(self, seen: Seen) -> None:
        self.taken += 1


def test_escalated_drafts_are_known_and_kept_ones_by_their_coin() -> None:
    rule = Fixed(np.array([2, 0]), np.array([0.1, 0.1]))
    places = np.array([[0, 1, 1, 3]] * 2)
    coins = np.array([[0.09, 0.1, 0.5, 0.9]] * 2)
    seen = seen_of(rule, places, np.zeros((2, 4)), coins)
    assert seen.kept.tolist() == [[True, True, True, False], [False] * 4]
    assert seen.known.tolist() == [[True, False, False, True], [True] * 4]
    assert seen.propensity.tolist() == [[0.1, 0.1, 0.1, 1.0], [1.0] * 4]
    assert seen.least.tolist() == [0.1, 1.0]


def test_turns_of_a_conversation_are_alike_and_their_coins_are_not() -> None:
    rule = Fixed(np.array([4]), np.array([0.5]))
    seen = serve(FOUR, rule, np.random.default_rng(0), Size(runs=1, turns=5))
    turns = seen.places.reshape(-1, 5)
    assert seen.places.shape == (1, BATCH)
    assert (turns == turns[:, :1]).all()
    assert len(np.unique(turns[:, 0])) > 1
    known = seen.known.reshape(-1, 5)
    assert (known.any(axis=1) & ~known.all(axis=1)).any()


def test_course_has_the_standing_of_each_batch_and_its_price() -> None:
    size = Size(runs=2, requests=2 * STEP)

    def maker(traffic: Traffic, runs: int) -> Fixed:
        return Fixed(np.array([2, 3]), np.array([0.1, 0.2]), since=5)

    course = simulate(FOUR, maker, alpha=0.3, size=size)
    assert course.first_in_force.tolist() == [5 * BATCH] * 2
    assert course.kept_at(STEP).tolist() == [0.5, 0.75]
    assert course.risk_at(STEP) == pytest.approx([0.0, 1 / 3])
    assert course.ever_above == 0.5
    batches = size.requests // BATCH
    assert course.time_above == pytest.approx((batches - 5) / batches / 2)
    assert course.oracle == 0.5
    now = course.bill_over(size.requests)
    assert now == pytest.approx([0.05 / 0.55, -0.25 / 0.55 + 0.15 / 0.55])
    whole = course.bill_over(size.requests, is_cumulative=True)
    before = 1.05 / 0.55 - 1.0
    assert whole == pytest.approx((5 * before + (batches - 5) * now) / batches)
    assert course.labels.shape == (2, 2, 50)
    assert (course.labels[1].sum(axis=1) > course.labels[0].sum(axis=1)).all()


def test_part_of_mixed_traffic_has_its_own_kept_share_bill_and_risk() -> None:
    good = traffic_of(population_of([0.9, 0.7, 0.5, 0.3], [1, 1, 1, 1]))
    bad = traffic_of(population_of([0.8, 0.6, 0.2, 0.1], [0, 1, 1, 1]))

    def maker(traffic: Traffic, runs: int) -> Fixed:
        return Fixed(np.array([4]), np.array([0.1]), since=5)

    course = simulate(mixed(good, bad), maker, alpha=0.3, size=Size(runs=1, requests=STEP))
    assert course.ever_above == 0.0
    parts = [course.of_part(each) for each in (good, bad)]
    assert [each.kept_at(STEP).tolist() for each in parts] == [[0.5], [0.5]]
    assert [each.risk_at(STEP).tolist() for each in parts] == [[0.0], [0.5]]
    assert [each.ever_above for each in parts] == [0.0, 1.0]
    assert parts[0].audited[-1] == pytest.approx([0.05])
    assert parts[0].first_in_force.tolist() == course.first_in_force.tolist() == [5 * BATCH]


def test_run_that_keeps_nothing_has_no_first_request() -> None:
    size = Size(runs=1, requests=STEP)
    course = simulate(FOUR, lambda *_: Fixed(np.array([0]), np.array([1.0])), 0.3, size)
    assert course.first_in_force.tolist() == [np.inf]
    assert course.ever_above == 0.0
