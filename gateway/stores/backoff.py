"""How long to wait before something is tried again."""

from collections.abc import Callable
from dataclasses import dataclass

FIRST_SECONDS = 0.2
MOST_SECONDS = 5.0


@dataclass(slots=True)
class Backoff:
    """Ever longer pauses up to a bound; a good try begins anew.

    ``dice`` falls evenly in [0, 1): a fleet that lost its store together does not return together.
    """

    dice: Callable[[], float]
    failures: int = 0

    def next_seconds(self) -> float:
        """The pause after one more failure: between a half and all of what is due."""
        due: float = min(FIRST_SECONDS * 2**self.failures, MOST_SECONDS)
        self.failures = min(self.failures + 1, 30)
        return due * (0.5 + self.dice() / 2)
