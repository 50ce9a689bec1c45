"""The promise itself, in small: how often is anything in force that breaks it?

tests/evaluation/promise holds its study to the acceptance numbers, over thousands of long runs.
Here a few short ones see that the rules which are known to break a promise would be noticed.
"""

import random
from dataclasses import dataclass, replace
from statistics import mean

import pytest

from routing.promise import bets, new_promise
from routing.promise.epoch import new_epoch
from routing.promise.grid import Grid
from routing.steering import KEEP_NOTHING, Report, Standing
from tests.routing.promise.street import TERMS, Risk, Street, falling, graded, plateau

pytestmark = pytest.mark.simulated

RUNS = 30
REQUESTS = 1_500
HELD = replace(TERMS, hold_at_most=1_000, audit_share=0.2)


class Estimated(Street):
    """The most permissive level that looks good is in force."""

    @property
    def standing(self) -> Standing:
        standing, epoch = self.promise.standing, self.promise.state.epoch
        level = -1 if epoch is None else epoch.counts.looks_good(TERMS.alpha)
        threshold = KEEP_NOTHING if epoch is None or level < 0 else epoch.grid.thresholds[level]
        return replace(standing, threshold=threshold, audit=0.3)


def broken(risk: Risk, runs: int = RUNS, kind: type[Street] = Street) -> int:
    """In how many runs a threshold was ever in force whose true risk is above alpha."""
    streets = [kind(new_promise(HELD), risk, seed) for seed in range(runs)]
    for street in streets:
        street.runs(REQUESTS)
    return sum(street.worst > TERMS.alpha for street in streets)


@pytest.mark.parametrize("risk", [falling, plateau])
def test_a_risk_above_alpha_is_in_force_in_no_more_runs_than_may_be(risk: Risk) -> None:
    assert broken(risk) <= TERMS.delta * RUNS


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("risk", [falling, plateau])
@pytest.mark.parametrize("turns", [1, 4])
def test_the_same_in_two_hundred_longer_runs(risk: Risk, turns: int) -> None:
    streets = [Street(new_promise(HELD), risk, seed, turns) for seed in range(200)]
    for street in streets:
        street.runs(4_000)
    assert sum(street.worst > TERMS.alpha for street in streets) <= TERMS.delta * 200


def test_most_runs_keep_much_of_what_they_may() -> None:
    kept = []
    for seed in range(6):
        street = Street(new_promise(HELD), seed=seed)
        threshold = street.runs(REQUESTS).standing.threshold
        kept.append(max(0.0, 1.0 - threshold))
    assert mean(kept) > 0.4  # of 0.81


def test_a_point_estimate_in_force_breaks_it_in_most_runs() -> None:
    assert broken(plateau, runs=10, kind=Estimated) >= 9


def test_a_test_against_a_risk_of_exactly_alpha_breaks_it_in_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Bets on both sides win from a risk far above alpha, too: it is not alpha, and so "certified".
    monkeypatch.setattr(bets, "STAKES", (*bets.STAKES, -0.3, -0.5))
    assert broken(lambda merit: 0.4, runs=5) == 5
    monkeypatch.undo()
    assert broken(lambda merit: 0.4, runs=5) == 0


def test_bets_that_are_scaled_to_the_least_of_all_times_prove_nothing() -> None:
    @dataclass
    class Floored(Street):
        def batch(self) -> Report:
            report = super().batch()
            return replace(report, grades=[replace(each, least=0.02) for each in report.grades])

    floored, scaled = Floored(new_promise(HELD)), Street(new_promise(HELD))
    assert floored.runs(REQUESTS).standing.threshold == KEEP_NOTHING
    assert scaled.runs(REQUESTS).standing.threshold < KEEP_NOTHING


def test_turns_of_conversations_are_no_more_evidence_than_they_are() -> None:
    """Whole conversations are wrong or right: a bet for each turn would bet on one thing often."""

    @dataclass
    class Alike(Street):
        def batch(self) -> Report:
            report = super().batch()
            losses: dict[str | None, float] = {}
            for grade in report.grades:
                losses.setdefault(grade.conversation, float(self.generator.random() < 0.12))
            told = [replace(each, loss=losses[each.conversation]) for each in report.grades]
            return replace(report, grades=told)

    @dataclass
    class Alone(Alike):
        def batch(self) -> Report:
            report = super().batch()
            return replace(
                report,
                turns={},
                grades=[replace(each, conversation=None) for each in report.grades],
            )

    found = {}
    for kind in (Alike, Alone):
        terms = replace(HELD, idle_seconds=0.0)
        streets = [kind(new_promise(terms), falling, seed, turns=10) for seed in range(15)]
        for street in streets:
            street.runs(800)
        found[kind] = sum(
            max((each for each in street.promise.state.epoch.best), default=0.0)
            >= street.promise.state.epoch.bar
            for street in streets
            if street.promise.state.epoch is not None
        )
    assert found[Alike] <= 1
    assert found[Alone] > 3


def test_a_conversation_of_hundreds_of_turns_that_are_alike_is_evidence_once() -> None:
    """Twelve of a hundred are wrong, from their first turn to their last."""
    proven = 0
    for seed in range(20):
        generator, epoch, now = random.Random(seed), new_epoch(Grid((0.5,), (1.0,)), 0.1), 0.0
        for name in map(str, range(15)):
            grade = graded(0.9, float(generator.random() < 0.12), 1, conversation=name)
            for _ in range(20):
                now += 30.0
                epoch = epoch.served([Report("a", 1, now, 1.0, judged=16, turns={name: 16})], now)
                epoch = epoch.learned([grade] * 16, TERMS, now)
                epoch, _ = epoch.closed(TERMS, now)
                epoch = epoch.looked(TERMS)
        proven += epoch.certified >= 0
    assert proven == 0
