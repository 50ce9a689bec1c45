import math
import random
from collections.abc import Callable

import pytest

from evaluation.sequential import (
    Count,
    Paired,
    evidence_above,
    evidence_of_harm,
    evidence_of_loss,
    evidence_of_no_harm,
    needed,
)

Evidence = Callable[[Count, Count, float], float]


def chance_of(count: int, of: int, rate: float) -> float:
    return math.comb(of, count) * rate**count * (1 - rate) ** (of - count)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("incumbent_rate", [0.0, 0.02, 0.3, 0.6])
@pytest.mark.parametrize(
    ("evidence", "offsets"),
    [(evidence_of_harm, (0.0, -0.1, -0.4)), (evidence_of_no_harm, (0.0, 0.1, 0.4))],
)
def test_a_false_finding_is_not_expected_to_have_evidence(
    evidence: Evidence, offsets: tuple[float, ...], incumbent_rate: float, margin: float
) -> None:
    """Summed over all outcomes: whoever bets on what is false does not win in the mean."""
    for offset in offsets:
        rate = incumbent_rate + margin + offset
        if not 0.0 <= rate <= 1.0:
            continue
        expected = sum(
            chance_of(x, 7, rate)
            * chance_of(y, 11, incumbent_rate)
            * math.exp(evidence(Count(x, 7), Count(y, 11), margin))
            for x in range(8)
            for y in range(12)
        )
        assert expected <= 1.0 + 1e-9


@pytest.mark.parametrize(("lost", "won"), [(0.3, 0.2), (0.1, 0.0), (0.2, 0.6), (0.5, 0.4)])
def test_a_false_loss_is_not_expected_to_have_evidence(lost: float, won: float) -> None:
    expected = 0.0
    for a in range(13):
        for b in range(13 - a):
            same = 12 - a - b
            ways = math.factorial(12) // (
                math.factorial(a) * math.factorial(b) * math.factorial(same)
            )
            chance = ways * lost**a * won**b * (1 - lost - won) ** same
            expected += chance * math.exp(evidence_of_loss(Paired(a, b, same), 0.1))
    assert expected <= 1.0 + 1e-9


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_a_rate_at_its_limit_is_not_expected_to_have_evidence(rate: float) -> None:
    expected = sum(
        chance_of(x, 20, rate) * math.exp(evidence_above(Count(x, 20), 0.2)) for x in range(21)
    )
    assert expected <= 1.0 + 1e-9


def brute_best(
    candidate: Count, incumbent: Count, allowed: Callable[[float, float], bool]
) -> float:
    """The highest likelihood on a fine grid."""

    def log_likelihood(count: Count, rate: float) -> float:
        missed = count.of - count.happened
        return (count.happened * math.log(rate) if count.happened else 0.0) + (
            missed * math.log1p(-rate) if missed else 0.0
        )

    grid = [(place + 0.5) / 400 for place in range(400)]
    return max(
        log_likelihood(candidate, first) + log_likelihood(incumbent, second)
        for first in grid
        for second in grid
        if allowed(first, second)
    )


@pytest.mark.parametrize(
    ("candidate", "incumbent", "margin"),
    [
        (Count(30, 100), Count(10, 100), 0.05),
        (Count(5, 100), Count(30, 120), 0.05),
        (Count(0, 40), Count(20, 40), 0.0),
        (Count(40, 40), Count(0, 40), 0.3),
    ],
)
def test_evidence_is_that_of_the_likeliest_rates_that_are_allowed(
    candidate: Count, incumbent: Count, margin: float
) -> None:
    """The difference of both findings is that of the two maxima, whatever the mixture is."""
    below = brute_best(candidate, incumbent, lambda p, q: p <= q + margin)
    above = brute_best(candidate, incumbent, lambda p, q: p >= q + margin)
    harm = evidence_of_harm(candidate, incumbent, margin)
    no_harm = evidence_of_no_harm(candidate, incumbent, margin)
    assert harm - no_harm == pytest.approx(above - below, abs=0.3)


def test_nothing_seen_is_no_evidence() -> None:
    nothing = Count(0, 0)
    assert evidence_of_harm(nothing, nothing, 0.05) == pytest.approx(0.0)
    assert evidence_of_no_harm(nothing, nothing, 0.05) == pytest.approx(0.0)
    assert evidence_above(nothing, 0.1) == pytest.approx(0.0)
    assert evidence_of_loss(Paired(0, 0, 0), 0.1) == pytest.approx(0.0)


def test_an_arm_without_outcomes_can_be_anything_and_proves_no_harm() -> None:
    assert evidence_of_harm(Count(50, 50), Count(0, 0), 0.05) <= 0.0


def test_a_rate_below_the_margin_itself_needs_no_incumbent() -> None:
    assert evidence_of_no_harm(Count(1, 300), Count(0, 0), 0.05) >= needed(0.05)


def test_large_counts_and_the_edges_of_rates_are_numbers() -> None:
    for candidate in (Count(0, 10**7), Count(10**7, 10**7), Count(3, 10**7)):
        for incumbent in (Count(0, 10**8), Count(10**8, 10**8), Count(10, 10**8)):
            for evidence in (evidence_of_harm, evidence_of_no_harm):
                assert math.isfinite(evidence(candidate, incumbent, 0.01))
    assert math.isfinite(evidence_of_loss(Paired(10**7, 0, 0), 0.05))
    assert math.isfinite(evidence_of_loss(Paired(10**6, 1, 10**8), 0.0))
    assert math.isfinite(evidence_above(Count(10**7, 10**7), 0.01))


@pytest.mark.parametrize(("happened", "of"), [(-1, 3), (4, 3), (0, -1)])
def test_what_cannot_have_happened_is_refused(happened: int, of: int) -> None:
    with pytest.raises(ValueError, match="cannot have happened"):
        Count(happened, of)


def test_what_cannot_have_happened_to_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have happened"):
        Paired(1, 1, -1)


@pytest.mark.parametrize("margin", [-0.1, 1.0])
def test_a_margin_outside_its_range_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="a margin lies in"):
        evidence_of_harm(Count(1, 2), Count(1, 2), margin)


def false_findings(
    evidence: Evidence, rates: tuple[float, float, float], share: float, shape: tuple[int, int]
) -> float:
    """How often peeking after every few requests finds at 5% what is not so.

    ``rates`` are candidate's, incumbent's and the margin; ``shape`` is runs and requests.
    """
    dice = random.Random(7)
    runs, requests = shape
    candidate_rate, incumbent_rate, margin = rates
    found = 0
    for _ in range(runs):
        counts = [0, 0, 0, 0]
        for number in range(1, requests + 1):
            is_candidate = dice.random() < share
            counts[0 if is_candidate else 2] += dice.random() < (
                candidate_rate if is_candidate else incumbent_rate
            )
            counts[1 if is_candidate else 3] += 1
            if number % 10 == 0 and evidence(
                Count(*counts[:2]), Count(*counts[2:]), margin
            ) >= needed(0.05):
                found += 1
                break
    return found / runs


def test_peeking_finds_no_false_harm_more_often_than_said() -> None:
    rates = (0.25, 0.20, 0.05)
    assert false_findings(evidence_of_harm, rates, 0.5, (100, 300)) <= 0.05


def test_peeking_finds_no_false_harmlessness_more_often_than_said() -> None:
    rates = (0.25, 0.20, 0.05)
    assert false_findings(evidence_of_no_harm, rates, 0.5, (100, 300)) <= 0.05


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("incumbent_rate", [0.0, 0.01, 0.2, 0.6])
@pytest.mark.parametrize("evidence", [evidence_of_harm, evidence_of_no_harm])
def test_peeking_for_long_finds_nothing_false_more_often_than_said(
    evidence: Evidence, incumbent_rate: float, share: float
) -> None:
    rates = (incumbent_rate + 0.05, incumbent_rate, 0.05)
    assert false_findings(evidence, rates, share, (150, 1500)) <= 0.05


@pytest.mark.full
@pytest.mark.parametrize("evidence", [evidence_of_harm, evidence_of_no_harm])
def test_rates_that_swing_with_the_hours_prove_nothing_false_while_the_share_is_constant(
    evidence: Evidence,
) -> None:
    """Beyond the theorem, which has constant rates: both arms see the same hours."""
    found = 0
    for seed in range(100):
        dice, counts = random.Random(seed), [0, 0, 0, 0]
        for number in range(1, 6001):
            hour = 0.3 + 0.2 * math.sin(2 * math.pi * number / 3000)
            is_candidate = dice.random() < 0.25
            counts[0 if is_candidate else 2] += dice.random() < hour + 0.05 * is_candidate
            counts[1 if is_candidate else 3] += 1
            if number % 20 == 0:
                arms = Count(*counts[:2]), Count(*counts[2:])
                if evidence(*arms, 0.05) >= needed(0.05):
                    found += 1
                    break
    assert found <= 5


def test_the_simulation_would_catch_a_test_that_looks_as_if_once() -> None:
    """What a normal approximation at 5%, looked at again and again, finds: far more."""

    def naive(candidate: Count, incumbent: Count, margin: float) -> float:
        p, q = candidate.rate, incumbent.rate
        if p is None or q is None or min(candidate.of, incumbent.of) < 20:
            return 0.0
        spread = math.sqrt(p * (1 - p) / candidate.of + q * (1 - q) / incumbent.of) or 1.0
        return needed(0.05) if (p - q - margin) / spread > 1.645 else 0.0

    assert false_findings(naive, (0.25, 0.20, 0.05), 0.5, (100, 300)) > 0.1
