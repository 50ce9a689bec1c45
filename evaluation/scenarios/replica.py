"""One gateway of a scenario: what stands there, what it has counted, and what waits to be told."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.scenarios.guard import Guard
from routing.breaker import Breaker
from routing.cap import CapBucket
from routing.steering import Grade, Report, Sample, Standing

MOST_WAITING_REPORTS = 600  # ten minutes of a store that is gone; the oldest go first


@dataclass(slots=True)
class Counts:
    """What a replica served in one second; ``busy`` were denied because there was no room."""

    served: int = 0
    kept: int = 0
    judged: int = 0
    forced: int = 0
    escalated: int = 0
    denied: int = 0
    busy: int = 0
    failed: int = 0
    audits: int = 0
    spent_pico: int = 0
    escalated_pico: int = 0
    audited_pico: int = 0
    mute: int = 0

    def add(self, other: "Counts") -> None:
        """Add another's counts."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of single requests: some merits, and the turns of conversations."""

    samples: Sequence[Sample] = ()
    turns: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Replica:
    """``life`` counts its starts: one that comes back after a fall is another reporter."""

    place: int
    standing: Standing
    guard: Guard
    life: int = 1
    is_alive: bool = True
    sequence: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    cap: CapBucket | None = None
    told: "deque[Report]" = field(default_factory=lambda: deque(maxlen=MOST_WAITING_REPORTS))
    _coming: dict[int, list[Grade]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it calls itself in reports."""
        return f"gateway-{self.place}.{self.life}"

    def follow(self, standing: Standing, now: float) -> None:
        """Take over what the store has, and its part of a hard cap."""
        self.standing = standing
        if standing.cap_pico is not None:
            if self.cap is None:
                self.cap = CapBucket(standing.cap_pico)
            self.cap.agree(standing.cap_pico, standing.shares.get(self.name), now)

    def fall(self) -> None:
        """Lose all that was not told."""
        self.is_alive = False
        self.told.clear()
        self._coming.clear()

    def rise(self, standing: Standing) -> None:
        """Begin again."""
        self.is_alive, self.life, self.sequence = True, self.life + 1, 0
        self.standing, self.breaker, self.cap = standing, Breaker(), None
        self.guard = Guard(self.guard.teacher, self.guard.is_easing)

    def expect(self, grade: Grade, second: int) -> None:
        """A grade that will be known in that second."""
        self._coming.setdefault(second, []).append(grade)

    def report(self, second: int, at: float, counts: Counts, told: Told) -> None:
        """Write down what the second brought."""
        self.sequence += 1
        self.told.append(
            Report(
                replica=self.name,
                sequence=self.sequence,
                at=at,
                seconds=1.0,
                judged=counts.judged,
                forced=counts.forced,
                escalated=counts.escalated,
                denied=counts.denied,
                spent_pico=counts.spent_pico,
                escalated_pico=counts.escalated_pico,
                audited_pico=counts.audited_pico,
                samples=told.samples,
                grades=self._coming.pop(second, ()),
                turns=told.turns,
                mute=counts.mute,
            )
        )

    def tell(self) -> list[Report]:
        """What had waited, in its order; it is told once."""
        waiting = list(self.told)
        self.told.clear()
        return waiting
