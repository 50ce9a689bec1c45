"""The hard cap on what a cascade spends in an hour: one replica's part of it, as a bucket.

A bucket fills steadily and holds little.  Over any hour it gives no more than what it held and what
came in, and together that is less than its part of the cap by a margin.  All replicas together then
stay below the cap as long as ``MARGIN`` of it covers:

- what escalations under way turn out to cost beyond their estimates, all at once: the bucket goes
  below 0 for that, and nothing is granted until it is paid back;
- the part of the cap of replicas that are cut off from the store, over ``LASTS_SECONDS``: others
  are given that part, while those still spend it;
- what is spent without asking, while it is more than what comes in.

``now`` is any steady clock, in seconds.
"""

from dataclasses import dataclass
from math import inf

HOUR = 3600.0
# Of its part of the cap this share comes in over an hour, and this one fits in at most.
FILL, BURST = 0.90, 0.05
MARGIN = 1.0 - FILL - BURST
# A part that nobody has confirmed for so long is given up: others may have it.
LASTS_SECONDS = 360.0


@dataclass(slots=True)
class CapBucket:
    """What one replica may spend of a cap in pico-dollars an hour, of which it has a ``share``.

    A share of None or 0 lets nothing be spent.  It begins empty: a replica that is started over
    and over must not find a full bucket each time.
    """

    cap_pico_per_hour: int
    share: float | None = None
    level: float = 0.0
    agreed_at: float = -inf
    _filled_at: float = -inf

    def agree(self, cap_pico_per_hour: int, share: float | None, now: float) -> None:
        """Hear which part of which cap is this replica's from now on; to be said again and again.

        A larger part adds nothing to what is in the bucket: it fills faster.
        """
        self._fill(now)
        self.cap_pico_per_hour, self.share, self.agreed_at = cap_pico_per_hour, share, now
        self.level = min(self.level, self._most())

    def may_spend(self, estimate: int, now: float) -> bool:
        """Take out what something is estimated to cost, if there is as much.

        ``spent`` must follow where there was, however it ends.
        """
        self._fill(now)
        if not self._is_agreed(now) or self.level < max(estimate, 1):
            return False
        self.level -= estimate
        return True

    def spent(self, actual: int, estimate: int, now: float) -> None:
        """Say what it cost in the end; an ``estimate`` of 0 is for what nobody asked for."""
        self._fill(now)
        self.level = min(self.level + estimate - actual, self._most())

    def _is_agreed(self, now: float) -> bool:
        return now < self.agreed_at + LASTS_SECONDS and bool(self.share)

    def _most(self) -> float:
        return BURST * self.cap_pico_per_hour * (self.share or 0.0)

    def _fill(self, now: float) -> None:
        """Let in what came in since; after ``LASTS_SECONDS`` without a word nothing does."""
        until = min(now, self.agreed_at + LASTS_SECONDS)
        if until > self._filled_at > -inf:
            came = FILL * self.cap_pico_per_hour * (self.share or 0.0) / HOUR
            self.level = min(self.level + came * (until - self._filled_at), self._most())
        self._filled_at = max(self._filled_at, now)
