"""The acceptance of rate, spend and the hard cap, on the real controllers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from evaluation.pacing.controls import LastMinute, Stuck, stuck_from_document
from evaluation.pacing.measures import has_enough, over_any_hour, rate_off, spend_off, variation
from evaluation.pacing.traffic import DAY, Population, day_cycle, with_burst
from evaluation.pacing.world import Faults, Run, Setup, run
from routing.money import PICO_PER_USD
from routing.pacing import new_pacer, pacer_from_document
from routing.pacing_goal import RateGoal, SpendGoal
from routing.vocabulary import Threshold

START = Threshold(0.8)
USD, CAP = 60.0, 75.0
AT_MOST = 0.15
SETTLED = 600  # seconds after which the first threshold has been left behind
# In an hour the share of drafts that is deferred goes up and down by no more than this altogether.
MOST_VARIATION = 2.0
SPEND = SpendGoal(int(USD * PICO_PER_USD), int(CAP * PICO_PER_USD))


@dataclass(frozen=True)
class Case:
    """A day cycle that begins at night; near its end five times as much comes for a minute."""

    seconds: int = 5700
    cycle: int = 14_400
    mean: float = 30.0
    swing: float = 0.7
    burst: tuple[int, int] = (5000, 60)
    faults: Faults = field(default_factory=Faults)
    population: Population = field(default_factory=Population)

    def setup(self) -> Setup:
        rates = day_cycle(self.seconds, self.mean, self.swing, self.cycle)
        rates = with_burst(rates, *self.burst, times=5.0)
        return Setup(rates, self.population, pacer_from_document, faults=self.faults)


FAULTS = Faults(away=((2400, 2700),), killed={"a": 3800})  # `a` has the lease
WHOLE_DAY = Case(
    seconds=DAY + 3600,
    cycle=DAY,
    burst=(70_000, 60),
    faults=Faults(
        away=((20_000, 20_300),), killed={"a": 35_000}, begun={"d": 36_000}
    ),
)  # fmt: skip


def holds_spend(result: Run, usd: float = USD, cap: float = CAP) -> None:
    off = spend_off(result.usd, usd)[SETTLED:]
    enough = has_enough(result.possible, usd)[SETTLED:]
    assert enough.any()
    assert off.max() <= 0.02
    assert off[enough].min() >= -0.02
    assert over_any_hour(result.usd).max() <= cap


def holds_rate(result: Run) -> None:
    off = rate_off(result.escalated, result.requests, AT_MOST)[SETTLED:]
    assert np.abs(off).max() <= 0.02


def test_a_spend_is_held_over_any_hour_through_a_burst_a_kill_and_a_store_that_is_away() -> None:
    result = run(Case(faults=FAULTS).setup(), new_pacer(SPEND, "student-1", START), seed=1)
    holds_spend(result)
    assert variation(result.share[SETTLED:]) <= MOST_VARIATION
    # The cap is no rule that anybody should notice.
    assert result.denied[SETTLED:].sum() <= 0.01 * result.deferred.sum()


def test_a_rate_is_held_over_any_hour_through_the_same() -> None:
    case = Case(mean=15.0, faults=FAULTS)
    result = run(case.setup(), new_pacer(RateGoal(AT_MOST), "student-1", START), seed=1)
    holds_rate(result)
    assert variation(result.share[SETTLED:]) <= MOST_VARIATION


def test_a_night_without_enough_traffic_leaves_nothing_to_be_spent_in_the_morning() -> None:
    case = Case(seconds=4800, mean=6.0, swing=0.95, burst=(0, 0))
    goal = SpendGoal(int(30 * PICO_PER_USD))
    result = run(case.setup(), new_pacer(goal, "student-1", START), seed=1)
    off = spend_off(result.usd, 30.0)
    assert off.min() < -0.2
    assert off.max() <= 0.02
    assert result.threshold[900] == pytest.approx(1.0)
    assert result.threshold[-1] < 0.95


@pytest.mark.parametrize(("gain", "is_swinging"), [(0.3, False), (1.0, True)])
def test_moving_by_the_last_minutes_error_misses_or_swings(gain: float, is_swinging: bool) -> None:
    """A control: the plain rule fails where the pacer does not, whatever its gain is."""
    plain = LastMinute(SpendGoal(int(12 * PICO_PER_USD)), gain, START.value)
    result = run(Case(mean=6.0).setup(), plain, seed=1)
    assert spend_off(result.usd, 12.0)[SETTLED:].max() > 0.04
    assert (variation(result.share[SETTLED:]) > 5 * MOST_VARIATION) is is_swinging


def cap_alone(case: Case, cap: float, seed: int) -> Run:
    goal = SpendGoal(int(cap / 1.25 * PICO_PER_USD), int(cap * PICO_PER_USD))
    setup = case.setup()
    setup = Setup(setup.rates, setup.population, stuck_from_document, faults=setup.faults)
    return run(setup, Stuck(new_pacer(goal, "student-1", START)), seed)


CUT: list[Mapping[str, tuple[int, int]]] = [{}, {"c": (1200, 3400)}]


@pytest.mark.parametrize("cut", CUT, ids=["all reach the store", "one does not"])
def test_the_cap_holds_where_every_draft_is_deferred(cut: Mapping[str, tuple[int, int]]) -> None:
    faults = Faults(away=((700, 1000),), killed={"a": 3600}, cut=cut)
    case = Case(seconds=4400, mean=4.0, burst=(2000, 60), faults=faults)
    hours = over_any_hour(cap_alone(case, 15.0, seed=1).usd)
    assert hours.max() <= 15.0
    assert cut or hours[SETTLED:].min() >= 0.85 * 15.0


def test_a_replica_that_begins_has_a_part_of_the_cap_soon() -> None:
    case = Case(seconds=600, mean=10.0, burst=(0, 0), faults=Faults(begun={"c": 300}))
    result = run(case.setup(), new_pacer(SPEND, "student-1", START), seed=1)
    assert result.controller.standing.shares.keys() == {"a", "b", "c"}
    assert result.denied[330:].sum() == 0


def test_with_prices_of_their_own_requests_gain_more_for_the_same_spend() -> None:
    gains = []
    for known in (True, False):
        case = Case(seconds=2000, mean=8.0, burst=(0, 0), population=Population(known=known))
        goal = SpendGoal(int(12 * PICO_PER_USD))
        result = run(case.setup(), new_pacer(goal, "student-1", START), seed=1)
        gains.append(result.gain[SETTLED:].sum() / result.usd[SETTLED:].sum())
    assert gains[0] > 1.15 * gains[1]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_a_spend_is_held_over_any_hour_of_a_day(seed: int) -> None:
    result = run(WHOLE_DAY.setup(), new_pacer(SPEND, "student-1", START), seed)
    holds_spend(result)
    assert variation(result.share[SETTLED:]) <= MOST_VARIATION


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_a_rate_is_held_over_any_hour_of_a_day(seed: int) -> None:
    result = run(WHOLE_DAY.setup(), new_pacer(RateGoal(AT_MOST), "student-1", START), seed)
    holds_rate(result)
    assert variation(result.share[SETTLED:]) <= MOST_VARIATION


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(20))
def test_no_hour_exceeds_the_cap_whatever_happens(seed: int) -> None:
    generator = np.random.default_rng(seed)
    away, cut, killed = (int(second) for second in generator.integers(600, 9000, 3))
    faults = Faults(
        away=((away, away + 300),), killed={"a": killed}, cut={"c": (cut, cut + 2400)}
    )  # fmt: skip
    case = Case(
        seconds=10_800, mean=4.0, burst=(int(generator.integers(10_000)), 60), faults=faults
    )
    assert over_any_hour(cap_alone(case, 15.0, seed).usd).max() <= 15.0
