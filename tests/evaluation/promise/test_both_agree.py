"""The simulation and routing's own promise see the same requests, and hold the same threshold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from evaluation.outcomes import Floats, Integers
from evaluation.promise.design import Design, Promise
from evaluation.promise.detector import Detector
from evaluation.promise.runs import BATCH, Seen, Size, serve
from evaluation.promise.traffic import Traffic
from routing import promise as core
from routing.promise.bets import log_values
from routing.promise.state import GATHERED
from routing.promise.terms import SIXTEENTHS
from routing.steering import KEEP_NOTHING, Grade, Report, Sample, Standing
from tests.evaluation.promise.populations import traffic


@dataclass(frozen=True)
class Case:
    """What is served.  ``records`` are known at the start; a conversation has so many ``turns``."""

    name: str
    requests: int
    seed: int
    alpha: float = 0.05
    records: int = 0
    turns: int = 1
    hold_at_most: int = 500
    audit: float = 0.3  # so much that the level goes on moving

    @property
    def design(self) -> Design:
        return Design(
            alpha=self.alpha,
            audit=self.audit,
            per_request=True,
            hold_at_most=self.hold_at_most,
            grid_requests=0 if self.records else GATHERED,
            warm=self.records,
            turns=self.turns,
            seed=self.seed,
        )

    @property
    def terms(self) -> core.Terms:
        # Conversations are over as soon as their batch is, as they are in the simulation.
        idle = 0.0 if self.turns > 1 else 600.0
        return core.Terms(
            self.alpha, 0.05, self.audit, hold_at_most=self.hold_at_most, idle_seconds=idle,
            head_start=head_start(self) if self.records else None,
        )  # fmt: skip


@dataclass(frozen=True)
class InForce:
    """What routing's standing means for the traffic."""

    drawn: Traffic
    standing: Standing

    @property
    def kept(self) -> Integers:
        threshold = self.standing.threshold
        return self.drawn.kept_by([2.0 if threshold == KEEP_NOTHING else threshold])

    @property
    def audit(self) -> Floats:
        return np.array([self.standing.audit])

    def take(self, seen: Seen) -> None:
        raise AssertionError("routing takes reports")


def head_start(case: Case) -> core.HeadStart:
    """The records that the simulation draws, as a policy file would have them."""
    rule = Design(seed=case.seed)(traffic(case.name), 1)
    generator = np.random.default_rng(case.seed)
    places = generator.integers(0, rule.traffic.size, size=(1, case.records))
    losses = rule.traffic.losses(places, generator)
    bins, levels = rule.grid.bins(places)[0], rule.grid.kept.shape[1]
    counts = np.zeros((levels + 1, SIXTEENTHS + 1), dtype=int)
    np.add.at(counts, (bins, np.ceil(losses[0] * SIXTEENTHS).astype(int)), 1)
    thresholds = rule.traffic.merit[rule.grid.kept[0] - 1]
    return core.HeadStart(
        tuple(thresholds.tolist()), tuple(map(tuple, counts[:-1].tolist())), int(counts[-1].sum())
    )


def report_of(drawn: Traffic, seen: Seen, standing: Standing, batch: int, turns: int) -> Report:
    names = [f"{batch}.{place // turns}" if turns > 1 else None for place in range(BATCH)]
    merits = drawn.merit[seen.places[0]].tolist()
    grades = [
        Grade(
            merit=merits[place],
            loss=float(seen.losses[0, place]),
            propensity=float(seen.propensity[0, place]),
            least=standing.least,
            epoch=standing.epoch,
            is_kept=bool(seen.kept[0, place]),
            conversation=names[place],
        )
        for place in np.flatnonzero(seen.known[0])
    ]
    said = [name for name in names if name is not None]
    return Report(
        "one", batch + 1, float(batch), 1.0, judged=BATCH, samples=list(map(Sample, merits)),
        grades=grades, turns={name: said.count(name) for name in said},
    )  # fmt: skip


def both(case: Case) -> Iterator[tuple[core.Promise, Promise, Seen]]:
    """After each batch: what routing makes of it, what the simulation does, and what was seen."""
    drawn = traffic(case.name)
    ours, rule = core.new_promise(case.terms), case.design(drawn, 1)
    generator = np.random.default_rng(case.seed + 1)
    size = Size(runs=1, turns=case.turns)
    for batch in range(case.requests // BATCH):
        standing = ours.standing
        seen = serve(drawn, InForce(drawn, standing), generator, size)
        ours = ours.advance([report_of(drawn, seen, standing, batch, case.turns)], float(batch))
        rule.take(seen)
        yield ours, rule, seen


SHORT = [
    Case("syn20/.90", 4_000, seed=1),
    Case("bump", 3_000, seed=2, alpha=0.1, records=200),
    Case("syn20/.90", 4_000, seed=3, turns=2, alpha=0.1),
]
LONG = [
    Case(name, 20_000, seed, alpha, records, turns, hold_at_most=6_000, audit=0.02)
    for seed, (name, alpha, records, turns) in enumerate(
        [
            ("syn30/.90", 0.05, 0, 1),
            ("syn30/.90", 0.05, 2_000, 1),
            ("syn20/.90", 0.05, 0, 2),
            ("syn20/.80", 0.1, 0, 5),
            ("bump", 0.1, 500, 10),
            ("emotion", 0.05, 0, 1),
            ("cosmosqa", 0.05, 500, 1),
            ("cosmosqa", 0.02, 0, 1),
        ]
    )
]


@pytest.mark.parametrize(
    "case", [*SHORT, *(pytest.param(case, marks=pytest.mark.full) for case in LONG)], ids=str
)
def test_threshold_in_force_is_the_same_after_every_batch(case: Case) -> None:
    thresholds = set()
    for batch, (ours, rule, _) in enumerate(both(case)):
        epoch = ours.state.epoch
        assert not ours.state.alarms
        held = InForce(rule.traffic, ours.standing).kept
        assert held.tolist() == rule.kept.tolist(), f"after batch {batch}"
        if epoch is not None and batch % 10 == 9:
            # Where merits were equal, the simulation has the same level more than once.
            levels = np.unique(rule.grid.kept[0], return_index=True)[1]
            mine = np.log(rule.wealth()[0][levels])
            assert list(log_values(epoch.wealth)) == pytest.approx(mine.tolist(), abs=1e-9)
        thresholds.add(ours.standing.threshold)
    assert len(thresholds) > 1  # something came in force


def test_attempts_beyond_hope_are_given_up_at_the_same_time_by_both() -> None:
    for ours, rule, _ in both(Case("poor", 6_500, seed=4, alpha=0.02, hold_at_most=1_500)):
        assert ours.state.attempt == rule.attempts[0]
    epoch = ours.state.epoch
    assert (ours.state.attempt, ours.state.alarms) == (4, ())
    assert epoch is not None
    assert epoch.judged > 200
    mine = np.log(rule.wealth()[0])
    assert list(log_values(epoch.wealth)) == pytest.approx(mine.tolist(), abs=1e-9)


def test_detector_has_the_same_statistic() -> None:
    case = SHORT[1]
    mine, was_watched = Detector(np.array([case.alpha])), False
    for ours, _, seen in both(case):
        if was_watched:
            for loss in seen.losses[seen.kept & seen.known]:
                mine.take(np.array([loss]), np.array([True]))
        was_watched = ours.state.watch is not None
    assert ours.state.watch is not None
    assert ours.state.watch.kept.statistic == pytest.approx(mine.statistic[0], rel=1e-9)
    assert mine.statistic[0] > 0.0
