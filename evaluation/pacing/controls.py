"""Controllers that must fail, or that leave all to the hard cap: what the real ones are held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor

from routing.money import PICO_PER_USD
from routing.pacing import Pacer, pacer_from_document
from routing.pacing_goal import SpendGoal, tally
from routing.steering import KEEP_NOTHING, Report, Standing


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pacer whose thresholds nobody follows: nothing is kept, and the cap alone holds."""

    pacer: Pacer

    @property
    def standing(self) -> Standing:
        """The pacer's, but for the threshold."""
        return replace(self.pacer.standing, threshold=KEEP_NOTHING)

    def advance(self, reports: Sequence[Report], now: float) -> "Stuck":
        """As the pacer does."""
        return Stuck(self.pacer.advance(reports, now))

    def document(self) -> Mapping[str, object]:
        """The pacer's."""
        return self.pacer.document()

    def shown(self) -> Mapping[str, object]:
        """The pacer's."""
        return self.pacer.shown()


def stuck_from_document(document: object) -> Stuck:
    """Read it again."""
    return Stuck(pacer_from_document(document))


@dataclass(frozen=True, slots=True)
class LastMinute:
    """The plain rule: each minute the one threshold of all moves by the error of the minute before.

    ``gain`` says how far it moves where that minute spent nothing.
    """

    goal: SpendGoal
    gain: float
    threshold: float
    minute: int = 0
    spent: float = 0.0

    @property
    def standing(self) -> Standing:
        """The threshold, and no cap."""
        return Standing(revision=self.minute, epoch=0, threshold=self.threshold)

    def advance(self, reports: Sequence[Report], now: float) -> "LastMinute":
        """Count the minute, and move at its end."""
        spent = self.spent + sum(tally(self.goal, report).spent for report in reports)
        minute = floor(now) // 60
        if minute == self.minute:
            return replace(self, spent=spent)
        off = spent * 60 * PICO_PER_USD / self.goal.pico_per_hour - 1.0
        moved = min(max(self.threshold - self.gain * off, 0.0), 1.0)
        return replace(self, minute=minute, spent=0.0, threshold=moved)

    def document(self) -> Mapping[str, object]:
        """Where the threshold is."""
        return {"threshold": self.threshold}

    def shown(self) -> Mapping[str, object]:
        """The same."""
        return self.document()
