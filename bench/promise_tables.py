"""The tables of docs/promise.md, as Markdown: each is made of cells that are simulated for it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evaluation.promise.controls import Naive
from evaluation.promise.design import Design
from evaluation.promise.detector import Regression, watch
from evaluation.promise.floors import Floor
from evaluation.promise.runs import Maker, Size, simulate
from evaluation.promise.summary import Summary, Then, summary_of
from evaluation.promise.traffic import Traffic, mixed, plateau
from routing.promise.detector import DEFERRED_STEPS, STEPS
from routing.promise.watch import DEFERRED_MARGIN, LEAST_DEFERRED

AT = (5_000, 10_000, 20_000)
LONG = (20_000, 50_000, 100_000, 200_000)
LONG_RUNS = 100  # at the most
AUDITS = (0.01, 0.02, 0.04, 0.06)
FEW = ("emotion", "mmlu", "cosmosqa", "syn30/.90")
# A route, and another whose evidence might serve it.
ROUTES = (("emotion", "emotion"), ("emotion", "cosmosqa"), ("mmlu", "mmlu"), ("mmlu", "emotion"),
          ("cosmosqa", "cosmosqa"), ("cosmosqa", "mmlu"), ("syn30/.90", "syn30/.90"),
          ("syn30/.90", "syn30/.85"), ("syn30/.85", "syn30/.90"))  # fmt: skip
DEFAULT = Design(per_request=True)
_SEED = 11

WAYS: Mapping[str, Design] = {
    "as it is: 2% of requests audited, hold 0.8": DEFAULT,
    "2% of *kept drafts* audited": replace(DEFAULT, per_request=False),
    "levels from the first 200 requests": replace(DEFAULT, grid_requests=200),
    "levels from the first 1,000 requests": replace(DEFAULT, grid_requests=1_000),
    "500 records of the past": replace(DEFAULT, warm=500),
    "2,000 records of the past": replace(DEFAULT, warm=2_000),
    "hold 0.9": replace(DEFAULT, release=0.9),
    "hold 0.9, 10,000 requests at most": replace(DEFAULT, release=0.9, hold_at_most=10_000),
    "hold 0.9, 2,000 records": replace(DEFAULT, release=0.9, warm=2_000),
    "no hold": replace(DEFAULT, release=0.0, hold_at_most=0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The populations, and how many runs a cell has."""

    traffic: Mapping[str, Traffic]
    runs: int
    _done: dict[tuple[str, Design, tuple[int, ...]], Summary] = field(default_factory=dict)

    def cell(self, name: str, design: Design, at: tuple[int, ...] = AT) -> Summary:
        """One cell, simulated once."""
        key = (name, design, at)
        if key not in self._done:
            size = Size(self.runs, max(at), _SEED)
            course = simulate(self.traffic[name], design, design.alpha, size)
            self._done[key] = summary_of(course, design.delta, at)
        return self._done[key]

    def of(self, names: Sequence[str]) -> list[str]:
        """Those of the populations that are here."""
        return [name for name in names if name in self.traffic]


def _cost(study: Study, alpha: float, delta: float) -> Iterator[str]:
    yield from _head([
        "population", "first kept after, median / p90", "kept %, 5k", "10k", "20k", "oracle",
        "bill over the oracle's %, 5k (cum.)", "10k (cum.)", "20k [p90] (cum. [p90])",
        "bill, 20k / oracle", "provable, any time / one look", "true risk", "ever above alpha %",
    ])  # fmt: skip
    for name in study.traffic:
        found = study.cell(name, replace(DEFAULT, alpha=alpha, delta=delta))
        early, middle, last = (found.then[each] for each in AT)
        floors = " / ".join(_percent(last.floors[each]) for each in Floor)
        yield _row([
            name, " / ".join(map(_requests, found.first)),
            *(_percent(each.kept) for each in (early, middle, last)), _percent(found.oracle),
            _over(early), _over(middle), _over(last, is_worst=True),
            f"{found.oracle_bill * (1.0 + last.over):.3f} / {found.oracle_bill:.3f}", floors,
            f"{last.risk:.3f}", _percent(found.ever_above),
        ])  # fmt: skip


def _audits(study: Study) -> Iterator[str]:
    names = study.of(FEW)
    yield from _head(["audited % of requests", *names])
    for share in AUDITS:
        cells = [study.cell(name, replace(DEFAULT, audit=share)).then[AT[-1]] for name in names]
        yield _row([_percent(share), *(f"{_percent(each.kept)}, {_over(each)}" for each in cells)])


def _ways(study: Study) -> Iterator[str]:
    names = study.of(FEW)
    yield from _head(["way", *names])
    for way, design in WAYS.items():
        cells = [study.cell(name, design) for name in names]
        yield _row([way, *map(_way, cells)])


def _long(study: Study) -> Iterator[str]:
    fewer = Study(study.traffic, min(study.runs, LONG_RUNS))
    yield from _head(["population", "way", "20k", "50k", "100k", "200k", "oracle"])
    for name in study.of(FEW):
        for way in ("as it is: 2% of requests audited, hold 0.8", "hold 0.9",
                    "hold 0.9, 10,000 requests at most"):  # fmt: skip
            found = fewer.cell(name, WAYS[way], LONG)
            cells = [f"{_percent(each.kept)}, {_over(each)}" for each in found.then.values()]
            yield _row([name, way, *cells, _percent(found.oracle)])


def _shared(study: Study) -> Iterator[str]:
    """What one route's evidence is worth to another: beside it the share of runs that broke it."""
    yield from _head([
        "route", "the other", "on its own", "begins at the other's level",
        "2,000 of the other's records", "one cascade for both",
    ])  # fmt: skip
    for name, other in ROUTES:
        if not study.of([name]) or not study.of([other]):
            continue
        here, there, requests = study.traffic[name], study.traffic[other], AT[-1]
        level = there.threshold_of(study.cell(other, DEFAULT).then[requests].kept)
        share = float(here.kept_by(level)) / here.size
        start = replace(DEFAULT, other_share=share, other_part=0.8)
        records = replace(DEFAULT, warm=2_000, others=there)
        both = simulate(
            mixed(here, there), DEFAULT, DEFAULT.alpha, Size(study.runs, 2 * requests, _SEED)
        )
        yield _row([
            name, other,
            *(_judged(study.cell(name, design), requests) for design in (DEFAULT, start, records)),
            _judged(summary_of(both.of_part(here), DEFAULT.delta, (2 * requests,)), 2 * requests),
        ])  # fmt: skip


def _judged(found: Summary, at: int) -> str:
    last = found.then[at]
    return f"{_percent(last.kept)}, {_over(last)}; {_percent(found.ever_above)}"


def _controls(study: Study) -> Iterator[str]:
    rules: Mapping[str, Maker] = {
        "**the promise**": DEFAULT,
        "point estimate, last 2,000 requests": Naive(window=2_000),
        "point estimate, last 5,000 requests": Naive(window=5_000),
        "point estimate, all labels so far": Naive(),
        "95% bound, made anew at each look": Naive(bound_delta=0.05),
    }
    names = study.of([*FEW, "bump"])
    yield from _head(["rule", "runs ever above alpha %", "time above %", "worst risk, 95th pct"])
    for rule, maker in rules.items():
        cells = [
            summary_of(
                simulate(study.traffic[name], maker, 0.05, Size(study.runs, seed=_SEED)), 0.05, ()
            )
            for name in names
        ]
        columns = (
            [100 * each.ever_above for each in cells],
            [100 * each.time_above for each in cells],
            [each.worst_risk for each in cells],
        )
        yield _row([rule, *map(_range, columns)])


def _plateau(study: Study) -> Iterator[str]:
    stress, size = plateau(0.05), Size(5 * study.runs // 2, seed=_SEED)
    free = Design(is_ordered=False)
    rules: Mapping[str, Maker] = {
        "**in order, 2% of requests audited**": DEFAULT,
        "**in order, 6%**": replace(DEFAULT, audit=0.06),
        "**in order, every draft labelled**": Design(audit=1.0),
        "without an order, 2% of kept drafts audited": free,
        "without an order, every draft labelled": replace(free, audit=1.0),
        "95% bound, made anew at each look": Naive(bound_delta=0.05),
        "point estimate, last 2,000 requests": Naive(window=2_000),
    }
    yield from _head(["rule", "runs ever above alpha %"])
    for rule, maker in rules.items():
        yield _row([rule, _percent(simulate(stress, maker, 0.05, size).ever_above)])


def _conversations(study: Study) -> Iterator[str]:
    """Conversations whose turns are all alike; taken as one bet, and as if they were not."""
    yield from _head([
        "turns of a conversation", "taken as", "plateau: ever above alpha %",
        "syn30/.90: ever above alpha %", "kept %",
    ])  # fmt: skip
    for turns, taken in ((1, 1), (2, 1), (2, 2), (5, 1), (5, 5)):
        size = Size(study.runs, seed=_SEED, turns=turns)
        design = replace(DEFAULT, turns=taken)
        stress = simulate(plateau(0.05), design, 0.05, size)
        usual = simulate(study.traffic["syn30/.90"], design, 0.05, size)
        kept = float(usual.kept_at(size.requests).mean())
        yield _row([
            str(turns), "one bet" if taken == turns else "independent requests",
            *(_percent(each.ever_above) for each in (stress, usual)), _percent(kept),
        ])  # fmt: skip


def _alarms(study: Study) -> Iterator[str]:
    runs = 5 * study.runs
    yield from _head([
        "healthy up to", "before → after", "audited % of kept", "no boost: median, 95%",
        "boost: median, 95%", "false alarms in 100,000, no boost / boost %",
        "audits of a healthy student, boost over none",
    ])  # fmt: skip
    for reference, before in ((0.02, 0.01), (0.05, 0.03), (0.1, 0.07)):
        for share in (0.01, 0.02, 0.04, 0.06):
            case = Regression(reference, before, before + 0.1, 0.5 * share)
            both = (replace(case, is_boosted=False), case)
            yield _row([
                f"{reference:g}", f"{before:g} → {before + 0.1:g}", _percent(share),
                *(_delays(each, runs) for each in both),
                " / ".join(_false_alarms(each, runs) for each in both),
                f"{_healthy(case, runs):.2f} x",
            ])  # fmt: skip


def _escalated(study: Study) -> Iterator[str]:
    runs = 5 * study.runs
    yield from _head([
        "escalated %", "wrong among them", "median, 95%", "the same with four larger risks",
        "false alarms of a healthy student in 100,000 %",
    ])  # fmt: skip
    for share, before in ((0.3, 0.35), (0.5, 0.45), (0.75, 0.45)):
        case = Regression(
            before + DEFERRED_MARGIN, before, before + 0.1, share, is_boosted=False,
            steps=DEFERRED_STEPS,
        )  # fmt: skip
        healthy = replace(case, after=before, at=None, baseline=LEAST_DEFERRED)
        both = (_delays(each, runs) for each in (case, replace(case, steps=STEPS)))
        change = f"{before:g} → {before + 0.1:g}"
        yield _row([_percent(share), change, *both, _alarms_of(healthy, runs)])


TABLES: Mapping[str, Callable[[Study], Iterator[str]]] = {
    "cost05": lambda study: _cost(study, 0.05, 0.05),
    "cost10": lambda study: _cost(study, 0.1, 0.1),
    "cost02": lambda study: _cost(study, 0.02, 0.01),
    "audits": _audits,
    "ways": _ways,
    "long": _long,
    "shared": _shared,
    "controls": _controls,
    "plateau": _plateau,
    "conversations": _conversations,
    "alarms": _alarms,
    "escalated": _escalated,
}


def _delays(case: Regression, runs: int) -> str:
    change = case.at or 0
    delays = watch(case, runs, 250_000, _SEED).delays(change)
    median, slow = (np.quantile(delays, each, method="higher") for each in (0.5, 0.95))
    return f"{_requests(median)}, {_requests(slow)}"


def _false_alarms(case: Regression, runs: int) -> str:
    """At the boundary of what is healthy."""
    return _alarms_of(replace(case, before=case.reference, after=case.reference, at=None), runs)


def _alarms_of(case: Regression, runs: int) -> str:
    return f"{100 * np.isfinite(watch(case, runs, 100_000, _SEED).at).mean():.2f}"


def _healthy(case: Regression, runs: int) -> float:
    return watch(replace(case, after=case.before, at=None), runs, 100_000, _SEED).audits_over_flat


def _way(found: Summary) -> str:
    last = found.then[AT[-1]]
    return f"{_requests(found.first[0])}: {_percent(last.kept)}, {_over(last)}"


def _over(then: Then, *, is_worst: bool = False) -> str:
    """Bill over the oracle's: now, from the start in brackets, each with its worst tenth."""
    now, all_of_it = f"{100 * then.over:+.0f}", f"{100 * then.over_all:+.0f}"
    if is_worst:
        now += f" [{100 * then.over_worst:.0f}]"
        all_of_it += f" [{100 * then.over_all_worst:.0f}]"
    return f"{now} ({all_of_it})"


def _requests(number: float) -> str:
    return "-" if math.isinf(number) else f"{number:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3g} – {max(values):.3g}"


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---"] * len(cells))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
