"""Is the risk among kept drafts below alpha?  Tested by betting that it is, at each level.

A draft of merit m with the loss L in [0, 1] was graded with the known probability q.  Level j keeps
it where m >= t_j, and then bets on z = (L - alpha) / q, which is 0 where nothing is known:

    E_j = mean over g of  prod ( 1 - g nu z [m >= t_j] ),     nu = 1 / (1 / q_min - alpha)

where q_min is the least probability that a kept draft could have had under the standing of that
time.  Bets that follow the propensities in force are what makes this prove anything: with the least
of all times in its place nothing would ever be certified.

Theorem.  Let E[(L - alpha) [m >= t_j] | past] >= 0 for all grades, the risk among kept drafts of
level j being at least alpha.  Let the coins be independent of L given the request, and q, q_min and
the grid fixed before it.  Then E_j is a nonnegative supermartingale that starts at 1: a factor's
mean is at most 1, and positive because z <= 1/q_min - alpha.  With probability at least 1 - delta
it never reaches 1/delta (Ville 1939).  Levels are certified in their order, each once its
predecessor is; whichever is the first with a risk above alpha, no worse level is in force before
that one is certified, whose own bet errs with at most delta.  One null, one delta; no union bound.

Betting: Waudby-Smith and Ramdas 2024, JRSS-B 86, arXiv:2010.09686; with inverse propensities, for a
monotone risk: Xu, Karampatziakis and Mineiro 2024, arXiv:2406.10490.

Logarithms of factors add up, so that a draft is booked once, in the bin of the strictest level that
keeps it; a level is the sum of its own bin and of all stricter ones.  Order does not matter.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

# Shares of the boldest bet that cannot lose all.  The best one is 1 - risk / alpha, and levels are
# certified at 0.6 to 0.7 of alpha; each more dilutes the mean, and delays every certificate.
STAKES = (0.2, 0.3, 0.45, 0.65)

# By bin, the logarithm of the wealth of each stake.
Wealth = tuple[tuple[float, ...], ...]
# A bet on the levels from a bin on: z, scaled by nu.
Bet = tuple[int, float]


def scaled(loss: float, propensity: float, least: float, alpha: float) -> float:
    """``nu z`` of one grade, in [-alpha, 1]: what the stakes are multiplied with."""
    return (loss - alpha) / propensity / (1.0 / least - alpha)


def no_wealth(levels: int) -> Wealth:
    """Where everybody starts."""
    return ((0.0,) * len(STAKES),) * levels


def after(wealth: Wealth, bets: Iterable[Bet]) -> Wealth:
    """The wealth after these bets; those from a bin on that no level has change nothing."""
    sums: dict[int, list[float]] = {}
    for place, value in bets:
        if place < len(wealth):
            row = sums.setdefault(place, [0.0] * len(STAKES))
            for stake, share in enumerate(STAKES):
                row[stake] += math.log1p(-share * value)
    return added(wealth, sums)


def after_several(wealth: Wealth, bets: Mapping[int, float]) -> Wealth:
    """After *one* bet that is another from each of these bins on: values add up on the way.

    That is how a cluster bets, whose drafts lie in different bins.
    """
    sums: dict[int, list[float]] = {}
    total, before = 0.0, [0.0] * len(STAKES)
    for place in sorted(bets):
        total += bets[place]
        now = [math.log1p(-share * total) for share in STAKES]
        if place < len(wealth):
            sums[place] = [new - old for new, old in zip(now, before, strict=True)]
        before = now
    return added(wealth, sums)


def added(wealth: Wealth, sums: Mapping[int, Sequence[float]]) -> Wealth:
    """The wealth with these sums of logarithms, by bin, added."""
    if not sums:
        return wealth
    rows = list(wealth)
    for place, row in sums.items():
        rows[place] = tuple(old + new for old, new in zip(rows[place], row, strict=True))
    return tuple(rows)


def log_values(wealth: Wealth) -> Iterator[float]:
    """The logarithm of each level's E, from strict to permissive."""
    sums = [0.0] * len(STAKES)
    for row in wealth:
        sums = [old + new for old, new in zip(sums, row, strict=True)]
        yield log_mean(sums)


def log_mean(logarithms: Sequence[float]) -> float:
    """The logarithm of the mean of what these are logarithms of."""
    highest = max(logarithms)
    total = math.fsum(math.exp(one - highest) for one in logarithms)
    return highest + math.log(total / len(logarithms))


def grades_needed(risk: float, alpha: float, delta: float) -> float:
    """About how many labels of drafts that a level keeps certify it: log(1/delta) / KL.

    The least expected number of any sequential test (Wald 1945); inf where the risk is not below.
    """
    if risk >= alpha:
        return math.inf
    divergence = (1.0 - risk) * math.log((1.0 - risk) / (1.0 - alpha))
    if risk > 0.0:
        divergence += risk * math.log(risk / alpha)
    return math.log(1.0 / delta) / divergence
