"""The population as it is at a time: what drifts, what regresses, and what the comparator says.

Of every standing it knows what it truly does.  The controllers never see this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.scenarios.population import SILENT, Population
from routing.money import PICO_PER_USD
from routing.pressure import eased
from routing.steering import KEEP_NOTHING, Standing

_ROUNDING = 1e-9  # of sums of shares


@dataclass(frozen=True, slots=True)
class Truth:
    """What a standing does in the mean of all requests.

    ``disagreement`` among kept drafts is by the comparator, as the promise is; ``unseen`` is what
    it would be by one that never errs.  Both are 0 where nothing is kept.  ``pico`` is what a
    request costs without audits.
    """

    kept: float
    disagreement: float
    unseen: float
    pico: float


@dataclass(slots=True, eq=False)
class World:
    """Mutable: a run has one of its own."""

    population: Population
    shares: Floats = field(init=False)
    risk: Floats = field(init=False)
    says_differs: float = 0.0
    says_same: float = 0.0
    mass: Floats = field(init=False)
    seen: Floats = field(init=False)
    _rising: Floats = field(init=False)
    _truths: dict[tuple[float, float | None, float], Truth] = field(init=False)
    _oracles: dict[float, Truth] = field(init=False)

    def __post_init__(self) -> None:
        self.shares = self.population.shares.copy()
        self.risk = self.population.risk.copy()
        self._renew()

    # --- what happens to it

    def drift(self, shares: Mapping[str, float]) -> None:
        """Give some kinds other shares; the others divide what is left as they did before.

        Raises EvaluationError for a kind that there is not, and where no kind has a share.
        """
        kinds = self.population.kinds
        if unknown := sorted(shares.keys() - set(kinds)):
            known = ", ".join(kinds)
            raise EvaluationError(f"shares.{unknown[0]}: there is no such kind, one of {known}")
        told = np.array([name in shares for name in kinds])
        left = 1.0 - sum(shares.values())
        others = self.shares * ~told
        spread = others / others.sum() * max(0.0, left) if others.sum() > 0.0 else others
        self.shares = np.where(told, [shares.get(name, 0.0) for name in kinds], spread)
        if not self.shares.sum() > 0.0:
            raise EvaluationError("shares: no kind has one: raise one")
        self.shares /= self.shares.sum()
        self._renew()

    def regress(self, points: float, where: Booleans) -> None:
        """Let so many percentage points more of these drafts differ."""
        self.risk = np.where(where, np.minimum(1.0, self.risk + points / 100.0), self.risk)
        self._renew()

    def err(self, says_differs: float, says_same: float) -> None:
        """Let the comparator be wrong so often."""
        self.says_differs, self.says_same = says_differs, says_same
        self._renew()

    def _renew(self) -> None:
        """Everything that rests on what has changed."""
        self.mass = self.population.weight * self.shares[self.population.kind]
        self._rising = np.cumsum(self.mass)
        self._rising /= self._rising[-1]
        self.seen = self.risk * (1.0 - self.says_same) + (1.0 - self.risk) * (self.says_differs)
        self._truths = {}
        self._oracles = {}

    # --- what comes of it

    def draw(self, generator: np.random.Generator, n: int) -> Integers:
        """The places of n requests."""
        return np.asarray(np.searchsorted(self._rising, generator.random(n), "right"))

    def losses(self, places: Integers, coins: Floats) -> Floats:
        """How far the teacher's answers differ, by the comparator."""
        seen = self.seen[places]
        return seen if self.population.is_graded else (coins < seen).astype(np.float64)

    # --- what is true of it

    def truth(self, standing: Standing, easing: float = 0.0) -> Truth:
        """What the standing does, where its threshold gives way to such a pressure."""
        key = (standing.threshold, standing.per_usd, easing)
        if key not in self._truths:
            kept = keeps(standing, self.population.merit, self.population.teacher_pico, easing)
            self._truths[key] = self._truth_of(kept)
        return self._truths[key]

    def oracle(self, disagreement_at_most: float) -> Truth:
        """What the most permissive threshold does that truly keeps the promise."""
        if disagreement_at_most not in self._oracles:
            merit, mass = self.population.merit, self.mass
            is_last = np.append(merit[1:] < merit[:-1], True) & (merit > SILENT)
            excess = np.cumsum((self.seen - disagreement_at_most) * mass)
            fine = np.flatnonzero(is_last & (excess <= _ROUNDING))
            kept = np.arange(len(merit)) <= (fine[-1] if len(fine) else -1)
            self._oracles[disagreement_at_most] = self._truth_of(kept)
        return self._oracles[disagreement_at_most]

    def _truth_of(self, kept: Booleans) -> Truth:
        mass = np.where(kept, self.mass, 0.0)
        share = float(mass.sum())
        pico = float(self.mass @ self.population.student_pico)
        pico += float((self.mass - mass) @ self.population.teacher_pico)
        if share <= 0.0:
            return Truth(0.0, 0.0, 0.0, pico)
        return Truth(share, float(mass @ self.seen) / share, float(mass @ self.risk) / share, pico)


def keeps(standing: Standing, merit: Floats, cost_pico: Integers, easing: float = 0.0) -> Booleans:
    """Which drafts the standing keeps: ``Standing.least_merit`` of many at once, eased."""
    if standing.per_usd is None:
        return np.asarray(merit >= eased(standing.threshold, easing, floor=0.0))
    asked = (1.0 - standing.threshold) * standing.per_usd * cost_pico / PICO_PER_USD
    least = np.maximum(0.0, 1.0 - asked) * eased(1.0, easing, floor=0.0)  # in proportion
    return np.asarray(merit >= (least if standing.threshold != KEEP_NOTHING else KEEP_NOTHING))
