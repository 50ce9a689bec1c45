"""Is one of two rates higher, asked again and again while counts come in?  Counts alone decide.

Theorem (universal inference: Wasserman, Ramdas and Balakrishnan 2020, PNAS 117, section 8, over
arXiv:1912.11436; Ville 1939).  Let outcomes come one at a time, in whatever order of the arms, each
independent of the past given its arm, with one constant rate an arm.  For a hypothesis H about the
rates let
    E = q(outcomes) / sup over H of the likelihood,
where q is a distribution of outcomes fixed in advance.  If H holds, E is at most the ratio of q to
the likelihood at the true rates, which is a martingale that starts at 1.  So with probability at
least 1 - alpha, E never reaches 1/alpha, however often anybody looks and whenever they stop.
Here q is the mixture of Bernoulli rates under Beta(1/2, 1/2) for each arm (Krichevsky and Trofimov
1981), or the same of three outcomes under Dirichlet(1/2, 1/2, 1/2).  Both q and the likelihood
depend on the counts alone, so that nobody needs the order.

What it costs.  Against the best rates in hindsight q loses about log(n)/2 for each rate, so the
evidence must be larger than that of a test that looks once.  What it does not cover: requests that
move together (one session that fails all day counts as many), and rates that drift while the
arms' shares change; a step of a rollout therefore has one share.

Evidence is the logarithm of E; ``needed(alpha)`` is what proves something.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A halving a step: after so many, the place of the maximum is known to the last digit.
_HALVINGS = 100


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened, of how many times that it could."""

    happened: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.happened <= self.of:
            raise ValueError(f"{self.happened} of {self.of} cannot have happened")

    @property
    def rate(self) -> float | None:
        """The share, None where there was no occasion."""
        return self.happened / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Paired:
    """What befell the same requests twice: ``lost`` only the first way, ``won`` only the second."""

    lost: int
    won: int
    same: int

    def __post_init__(self) -> None:
        if min(self.lost, self.won, self.same) < 0:
            raise ValueError(f"{self} cannot have happened")


def needed(alpha: float) -> float:
    """The evidence that a false hypothesis' victim reaches with probability at most ``alpha``."""
    return -math.log(alpha)


def evidence_of_harm(candidate: Count, incumbent: Count, margin: float) -> float:
    """Evidence against "the candidate's rate is at most the incumbent's plus ``margin``"."""
    return _surprise(candidate, incumbent) - _best(candidate, incumbent, margin, is_above=False)


def evidence_of_no_harm(candidate: Count, incumbent: Count, margin: float) -> float:
    """Evidence against "the candidate's rate is at least the incumbent's plus ``margin``".

    ``margin`` in [0, 1).  Without any outcome of the incumbent's it is evidence of a rate below
    ``margin`` itself.
    """
    return _surprise(candidate, incumbent) - _best(candidate, incumbent, margin, is_above=True)


def evidence_above(count: Count, limit: float) -> float:
    """Evidence against "the rate is at most ``limit``", which lies in (0, 1)."""
    rate = min(count.happened / count.of if count.of else 0.0, limit)
    parts = (count.happened, count.of - count.happened)
    return _mixed(parts) - _likelihood(parts, (rate, 1.0 - rate))


def evidence_of_loss(paired: Paired, margin: float) -> float:
    """Evidence against "losing is at most ``margin`` likelier than winning", in [0, 1)."""
    parts = (paired.lost, paired.won, paired.same)
    total = sum(parts)
    if paired.lost - paired.won <= margin * total:
        best = _likelihood(parts, tuple(part / total if total else 0.0 for part in parts))
    else:

        def chances(won: float) -> tuple[float, ...]:
            return (won + margin, won, 1.0 - margin - 2.0 * won)

        best = _highest(parts, chances, (1.0, 1.0, -2.0), (0.0, (1.0 - margin) / 2.0))
    return _mixed(parts) - best


def _surprise(candidate: Count, incumbent: Count) -> float:
    """The logarithm of q: what is likely to one who knows no rate."""
    return sum(_mixed((one.happened, one.of - one.happened)) for one in (candidate, incumbent))


def _best(candidate: Count, incumbent: Count, margin: float, *, is_above: bool) -> float:
    """The largest log-likelihood with the candidate's rate above, or else below, the line."""
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"a margin lies in [0, 1), got {margin!r}")
    parts = (
        candidate.happened,
        candidate.of - candidate.happened,
        incumbent.happened,
        incumbent.of - incumbent.happened,
    )
    if _is_allowed(candidate, incumbent, margin, is_above=is_above):
        first, second = candidate.rate or 0.0, incumbent.rate or 0.0
        return _likelihood(parts, (first, 1.0 - first, second, 1.0 - second))

    # The likelihood is concave, so that the best that is allowed lies on the line between.
    def chances(rate: float) -> tuple[float, ...]:
        return (rate + margin, 1.0 - margin - rate, rate, 1.0 - rate)

    return _highest(parts, chances, (1.0, -1.0, 1.0, -1.0), (0.0, 1.0 - margin))


def _is_allowed(candidate: Count, incumbent: Count, margin: float, *, is_above: bool) -> bool:
    """Whether the rates that fit best are within the hypothesis.  An arm without outcomes fits."""
    if candidate.rate is None:
        return True
    if incumbent.rate is None:
        return not is_above or candidate.rate >= margin
    line = incumbent.rate + margin
    return candidate.rate >= line if is_above else candidate.rate <= line


def _mixed(parts: Sequence[int]) -> float:
    """The logarithm of the probability of a sequence with these counts, mixed over all rates."""
    halves = len(parts) / 2.0
    first = math.lgamma(halves) - len(parts) * math.lgamma(0.5)
    return first + sum(math.lgamma(part + 0.5) for part in parts) - math.lgamma(sum(parts) + halves)


def _likelihood(parts: Sequence[int], chances: Sequence[float]) -> float:
    """The log-likelihood; what never happened may be impossible."""
    return sum(
        part * (math.log(chance) if chance > 0.0 else -math.inf)
        for part, chance in zip(parts, chances, strict=True)
        if part
    )


def _highest(
    parts: Sequence[int],
    chances: Callable[[float], Sequence[float]],
    slopes: Sequence[float],
    within: tuple[float, float],
) -> float:
    """The largest log-likelihood over a line of ``chances``, along which they have ``slopes``."""
    low, high = within
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        at = chances(middle)
        if min(at) <= 0.0:  # the line has no more digits here
            break
        rise = sum(p * slope / chance for p, slope, chance in zip(parts, slopes, at, strict=True))
        low, high = (middle, high) if rise > 0.0 else (low, middle)
    return max(_likelihood(parts, chances(place)) for place in (low, (low + high) / 2.0, high))
