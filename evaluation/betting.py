"""Is the mean of a bounded variable below 0?  Tested by betting that it is.

Theorem (Ville's inequality; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting", JRSS-B 86, arXiv:2010.09686).  Let Z_1, Z_2, ... satisfy Z_i <= b
and E[Z_i | past] >= 0.  For any 0 <= g <= 1/b fixed in advance, the wealth
W_i = prod_{s<=i} (1 - g Z_s) of one who stakes g on "Z is negative" is never negative, and
E[W_i | past] <= W_{i-1}: it is a supermartingale that starts at 1.  So is the average over several
g.  Hence, with probability at least 1 - delta, it never reaches 1/delta, and a test that rejects
"the mean is at least 0" when it does so at any time errs with probability at most delta.

Assumptions.  The records are i.i.d. draws (their order is drawn by a seed, because files may be
sorted by outcome), b is known in advance, and the stakes do not depend on the outcomes.  They may
depend on how many drafts are kept: given which are, the kept ones are i.i.d. still.  Z needs no
lower bound, and neither a variance nor a distribution.

Stakes.  The best single one for a variance v and n records is about sqrt(2 log(1/delta) / (n v))
(ibid.).  No mean-0 variable in [-a, b] has a variance above a b (Bhatia and Davis
2000), so the useful stakes lie between that for v = a b and 1/b; a few of them, in steps of RATIO,
share the bet.  The average costs at most log(their number).  Measured on Bernoulli losses against
the predictable plug-in bets of the same paper, this rejects as often or more often in nearly all
cells, by up to 16 points at 300 records.
"""

import math

import numpy as np
import numpy.typing as npt

from evaluation.excess import Range
from evaluation.outcomes import Floats, Integers

RATIO = 1.5
BOLDEST = 0.999  # of 1/b: at 1/b itself one total loss would end the bet


def stakes(records: Integers, within: Range, delta: float, most: int) -> Floats:
    """Stakes for variables ``within`` a range, one row for each entry of ``records``.

    ``records`` has shape (r,), the numbers of records that count; ``most`` bounds them, and with it
    how many stakes there are.  Shape (r, g).
    """
    boldest = BOLDEST / within.above

    def least(count: npt.ArrayLike) -> Floats:
        spread = np.maximum(count, 1) * within.above * within.below
        return np.minimum(np.sqrt(2.0 * math.log(1.0 / delta) / spread), boldest)

    number = math.ceil(math.log(boldest / float(least(most))) / math.log(RATIO)) + 1
    return np.asarray(np.geomspace(least(records), boldest, number, axis=1))


def best_wealth(values: Floats, placed: Floats) -> Floats:
    """The highest wealth on the way of one who starts with 1, shape (r,); inf beyond floats.

    ``values`` are the Z in betting order, shape (r, n), and ``placed`` the stakes, shape (r, g).
    """
    total = np.zeros(values.shape)
    # Beyond the largest float the test has long rejected; below the smallest, wealth stays lost,
    # which errs on the safe side.
    with np.errstate(over="ignore", under="ignore"):
        for stake in placed.T:
            factors = 1.0 - stake[:, None] * values
            total += np.cumprod(factors, axis=1, out=factors)
        return np.asarray(total.max(axis=1) / placed.shape[1])


def growth(values: Floats, above: float, stakes_tried: int = 40) -> tuple[float, float]:
    """The best mean growth of log-wealth a record, over stakes, and its standard deviation.

    What n records may be expected to prove is n times the first.  ``values`` has shape (n,).
    """
    tried = np.geomspace(1e-3, BOLDEST, stakes_tried) / above
    gains = np.log1p(-tried[:, None] * values)
    means = gains.mean(axis=1)
    best = int(means.argmax())
    return float(means[best]), float(gains[best].std())
