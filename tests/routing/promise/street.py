"""Traffic of which everything is known: even merits, and a risk that falls with them."""

import random
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import cache, lru_cache

from routing.promise import Promise, Terms, new_promise
from routing.steering import KEEP_NOTHING, Grade, Report, Sample, Standing

TERMS = Terms(alpha=0.1, delta=0.1, subject="student-1", audit_share=0.05, hold_at_most=1_500)
BATCH = 50
STEPS = 1_000

Risk = Callable[[float], float]


def falling(merit: float) -> float:
    """A sixth of all drafts are wrong, and of the better six tenths three in a hundred."""
    return float(0.6 * (1.0 - merit) ** 2.5)


def plateau(merit: float) -> float:
    """Sure of the upper tenth; of what comes after so many are wrong that it is just too many."""
    return 0.095 if merit >= 0.9 else 0.112


def twofold(merit: float) -> float:
    """Good at what it is surest of, and poor at the rest."""
    return 0.02 if merit > 0.7 else 0.4


@dataclass
class Street:
    """One replica's requests, graded as the standing says, and reported batch by batch."""

    promise: Promise = field(default_factory=lambda: new_promise(TERMS))
    risk: Risk = falling
    seed: int = 1
    turns: int = 1
    second: int = 0
    worst: float = 0.0
    audits: int = 0

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)

    @property
    def standing(self) -> Standing:
        """What is in force."""
        return self.promise.standing

    def runs(self, requests: int) -> Promise:
        for _ in range(requests // BATCH):
            self.promise = self.promise.advance([self.batch()], float(self.second))
            self.worst = max(self.worst, true_risk(self.risk, self.standing.threshold))
        return self.promise

    def batch(self) -> Report:
        self.second += 1
        samples: list[Sample] = []
        grades: list[Grade] = []
        turns: dict[str, int] = {}
        for place in range(BATCH):
            name = f"{self.second}.{place // self.turns}" if self.turns > 1 else None
            if name is not None:
                turns[name] = turns.get(name, 0) + 1
            merit = self.generator.random()
            samples.append(Sample(merit))
            grades.extend(self._grades(merit, name))
        return Report(
            "a", self.second, float(self.second), 1.0,
            judged=BATCH, samples=samples, grades=grades, turns=turns,
        )  # fmt: skip

    def _grades(self, merit: float, name: str | None) -> list[Grade]:
        standing, loss = self.standing, float(self.generator.random() < self.risk(merit))
        is_kept = merit >= standing.threshold
        propensity = standing.audit if is_kept else 1.0
        if is_kept and self.generator.random() >= propensity:
            return []
        self.audits += is_kept
        return [Grade(merit, loss, propensity, standing.least, standing.epoch, is_kept, name)]

    def copy(self) -> "Street":
        """Another one, that goes on from here as this one would."""
        found = copy(self)
        found.generator = deepcopy(self.generator)
        return found


@cache
def _played(requests: int, risk: Risk) -> Street:
    street = Street(risk=risk)
    street.runs(requests)
    return street


def played(requests: int, risk: Risk = falling) -> Street:
    """A street after so many requests, which are played once for all who ask for them."""
    return _played(requests, risk).copy()


@lru_cache(maxsize=1_000)
def true_risk(risk: Risk, threshold: float) -> float:
    """That of the drafts a threshold keeps; 0 where it keeps none."""
    if threshold == KEEP_NOTHING:
        return 0.0
    merits = [(step + 0.5) / STEPS for step in range(STEPS)]
    kept = [risk(merit) for merit in merits if merit >= threshold]
    return sum(kept) / len(kept) if kept else 0.0


def graded(merit: float, loss: float, epoch: int, **parts: float | str | bool | None) -> Grade:
    """The grade of an escalated draft, but for what is said otherwise."""
    made = Grade(merit, loss, 1.0, 1.0, epoch, is_kept=False)
    values = {name: getattr(made, name) for name in made.__slots__}
    return Grade(**{**values, **parts})


def report(sequence: int, grades: list[Grade], judged: int = 0, replica: str = "a") -> Report:
    """What one replica says of its grades."""
    at = float(sequence)
    return Report(replica, sequence, at, 1.0, judged=judged, grades=grades)


def merits(count: int, sequence: int = 1) -> Report:
    """So many even merits, graded by nobody."""
    samples = [Sample((place + 0.5) / count) for place in range(count)]
    return Report("a", sequence, float(sequence), 1.0, judged=count, samples=samples)
