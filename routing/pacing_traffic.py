"""How many requests arrive in a second just now: over as long a time as that has not changed."""

from collections.abc import Sequence
from math import inf, sqrt

# Each of these many last seconds is asked, from the shortest on.
WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128)
# So many standard deviations of a Poisson count make a change: of the eight windows of a second,
# at traffic that does not change, one is wrong about once in five minutes, and that is harmless.
DEVIATIONS = 3.0


def steady_rate(counts: Sequence[float]) -> float:
    """Requests a second at the end of these seconds; 0 without any.

    The longest window speaks whose rate contradicts that of no shorter one: a steady stream is
    averaged over two minutes, one that has just grown fivefold over the second since.  Lepski's
    rule, "On a problem of adaptive estimation in Gaussian white noise" (1991).
    """
    found, lowest, highest = 0.0, -inf, inf
    total, taken = 0.0, 0
    for window in WINDOWS:
        if window > len(counts):
            break
        total += sum(counts[len(counts) - window : len(counts) - taken])
        taken = window
        rate, doubt = total / window, DEVIATIONS * sqrt(total + 1.0) / window
        lowest, highest = max(lowest, rate - doubt), min(highest, rate + doubt)
        if lowest > highest:
            break
        found = rate
    return found
