"""Has the student got worse?  A Shiryaev-Roberts test with a proven rate of false alarms.

R <- (1 + R) e, where e is the likelihood ratio of a loss under a larger risk to that under the
largest healthy one, ``reference``; R is the mean over several larger risks.

Theorem.  While the risk is at most the reference, E[e] <= 1: e is linear in the loss, 1 in the mean
at the reference, and rises.  So R_n - n is a supermartingale, and the chance that R has reached A
within N grades is at most N / A (Shiryaev 1963; Shin, Ramdas and Rinaldo 2022, arXiv:2203.03532).
A = N / false_alarms makes that ``false_alarms`` for as many grades as ``WINDOW`` requests bring.
"""

from dataclasses import dataclass, replace

STEPS = (0.03, 0.06, 0.1, 0.2)  # above the reference
# Losses are common among deferred drafts, and small jumps cannot be told from none there.
DEFERRED_STEPS = (0.06, 0.1)
WINDOW = 100_000  # requests to which the rate of false alarms refers
FALSE_ALARMS = 0.01  # of times in one window
# At a tenth of that a regression of ten points would be found 800 requests later.  False alarms of
# a healthy student come from a baseline that was off, in 3 of 1,000 windows where it is known from
# 2,000 labels.
DEFERRED_FALSE_ALARMS = 0.01
SUSPICIOUS = 100.0
BOOST = 10.0  # times as many audits while it is suspicious


@dataclass(frozen=True, slots=True)
class Detector:
    """A test of whether the risk is above ``reference``; ``each`` is R by step.

    ``highest`` is the largest R on the way, since the test began.
    """

    reference: float
    steps: tuple[float, ...]
    each: tuple[float, ...]
    highest: float = 0.0

    @property
    def statistic(self) -> float:
        """R."""
        return sum(self.each) / len(self.each)

    @property
    def is_suspicious(self) -> bool:
        """Whether it is worth looking closer."""
        return self.statistic >= SUSPICIOUS

    def after(self, loss: float) -> "Detector":
        """After one more loss in [0, 1]."""
        reference, each = self.reference, []
        for step, before in zip(self.steps, self.each, strict=True):
            larger = min(reference + step, 1.0 - 1e-6)
            right = (1.0 - larger) / (1.0 - reference)
            each.append((1.0 + before) * (right + loss * (larger / reference - right)))
        found = replace(self, each=tuple(each))
        return replace(found, highest=max(self.highest, found.statistic))

    def has_alarmed(self, grades: float, false_alarms: float) -> bool:
        """Whether it says so, where so many grades are expected of one window's requests."""
        return self.highest >= max(1.0, grades) / false_alarms


def new_detector(reference: float, steps: tuple[float, ...] = STEPS) -> Detector:
    """A test that has seen nothing."""
    return Detector(min(max(reference, 1e-4), 0.98), steps, (0.0,) * len(steps))
