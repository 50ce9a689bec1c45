"""How well rate, spend and the hard cap are held over simulated days: the table of
docs/objectives.md.

    .venv/bin/python -m bench.pacing --seeds 2
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import numpy as np

from evaluation.pacing.controls import LastMinute, Stuck, stuck_from_document
from evaluation.pacing.measures import has_enough, over_any_hour, rate_off, spend_off, variation
from evaluation.pacing.traffic import DAY, Population, day_cycle, with_burst
from evaluation.pacing.world import Faults, Run, Setup, run
from routing.money import PICO_PER_USD
from routing.pacing import Pacer, new_pacer, pacer_from_document
from routing.pacing_goal import RateGoal, SpendGoal
from routing.steering import Controller
from routing.vocabulary import Threshold

START = Threshold(0.8)
SECONDS = DAY + 3600
SETTLED = 600
ALL_FAULTS = Faults(away=((20_000, 20_300),), killed={"a": 35_000}, begun={"d": 36_000})
ONE_CUT = Faults(cut={"c": (20_000, 27_200)})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: requests a second on average of the day, and who holds what."""

    name: str
    mean: float
    controller: Callable[[], Controller]
    usd: float | None  # None is a rate
    faults: Faults = field(default_factory=Faults)
    read: Callable[[object], Controller] = pacer_from_document


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="days of each line")
    seeds = parser.parse_args(arguments).seeds
    print("| | escalations an hour | off, over any hour | most in any hour | variation | denied |")
    print("| --- | --- | --- | --- | --- | --- |")
    for line in chain(_spends(), _rates(), _controls()):
        print(_row(line, [_day(line, seed) for seed in range(seeds)]), flush=True)


def _spends() -> Iterator[Line]:
    for usd, faults in ((60.0, Faults()), (60.0, ALL_FAULTS), (30.0, Faults()), (12.0, Faults())):
        name = f"spend ${usd:.0f}/h" + (", with all that fails" if faults.away else "")
        yield Line(name, usd / 2.0, partial(_spending, usd), usd, faults)


def _rates() -> Iterator[Line]:
    for mean, faults in ((30.0, Faults()), (30.0, ALL_FAULTS), (10.0, Faults()), (3.0, Faults())):
        name = "rate 15%" + (", with all that fails" if faults.away else "")
        yield Line(name, mean, lambda: new_pacer(RateGoal(0.15), "bench", START), None, faults)


def _controls() -> Iterator[Line]:
    for gain in (0.1, 0.3, 1.0):
        yield Line(
            f"spend $60/h, by the last minute's error, gain {gain:g}",
            30.0,
            partial(LastMinute, SpendGoal(60 * PICO_PER_USD), gain, START.value),
            60.0,
        )
    for name, faults in (("", Faults()), (", a replica without the store", ONE_CUT)):
        yield Line(
            f"the cap alone: $15/h, nothing kept{name}",
            6.0,
            lambda: Stuck(_spending(12.0)),
            12.0,
            faults,
            stuck_from_document,
        )


def _spending(usd: float) -> Pacer:
    goal = SpendGoal(int(usd * PICO_PER_USD), int(1.25 * usd * PICO_PER_USD))
    return new_pacer(goal, "bench", START)


def _day(line: Line, seed: int) -> Run:
    rates = with_burst(day_cycle(SECONDS, line.mean, 0.7), 70_000, 60, times=5.0)
    return run(Setup(rates, Population(), line.read, faults=line.faults), line.controller(), seed)


def _row(line: Line, days: Sequence[Run]) -> str:
    lows, highs, most = [], [], []
    for day in days:
        if line.usd is None:
            off = rate_off(day.escalated, day.requests, 0.15)[SETTLED:]
            enough = np.ones(len(off), dtype=bool)
        else:
            off = spend_off(day.usd, line.usd)[SETTLED:]
            enough = has_enough(day.possible, line.usd)[SETTLED:]
            most.append(over_any_hour(day.usd).max())
        lows.append(off[enough].min())
        highs.append(off.max())
    an_hour = np.mean([day.escalated.mean() * 3600 for day in days])
    moved = max(variation(day.share[SETTLED:]) for day in days)
    denied = np.mean([day.denied.sum() / day.deferred.sum() for day in days])
    dollars = f"${max(most):.2f}" if most else ""
    return (
        f"| {line.name} | {an_hour:,.0f} | {min(lows):+.1%} to {max(highs):+.1%} | {dollars} "
        f"| {moved:.1f} | {denied:.1%} |"
    )


if __name__ == "__main__":
    main()
