"""The teacher as a queue: so many answers at once, each in its time, the rest waits.

A flow, not single calls: of a second's calls all wait alike.
"""

from dataclasses import dataclass

from evaluation.scenarios.scenario import Teacher

FIRST_BYTE_SHARE = 0.05  # of an answer's time, for the prompt


@dataclass(slots=True)
class Queue:
    """``open_calls`` are asked and not answered yet; ``slowness`` multiplies the time of each."""

    teacher: Teacher
    open_calls: float = 0.0
    slowness: float = 1.0
    is_down: bool = False

    @property
    def running(self) -> float:
        """Calls that are being answered."""
        return min(self.open_calls, float(self.teacher.concurrent))

    @property
    def waiting(self) -> float:
        """Calls that are not."""
        return self.open_calls - self.running

    @property
    def latency_seconds(self) -> float:
        """How long a call that comes now will take."""
        seconds = self.teacher.seconds * self.slowness
        return seconds * (1.0 + self.waiting / self.teacher.concurrent)

    def first_byte_seconds(self, place: int) -> float:
        """How long the first byte takes of the call that comes in that place from now, from 1."""
        seconds = self.teacher.seconds * self.slowness
        before = max(0.0, self.open_calls + place - self.teacher.concurrent)
        return seconds * (FIRST_BYTE_SHARE + before / self.teacher.concurrent)

    @property
    def would_time_out(self) -> bool:
        """Whether a call that comes now waits in vain."""
        return self.latency_seconds > self.teacher.timeout_seconds

    def ask(self, calls: int) -> None:
        """Take so many more."""
        self.open_calls += calls

    def pass_second(self) -> float:
        """Answer what a second allows; returns the share of open calls that are over."""
        if self.is_down:
            self.open_calls = 0.0  # whoever waited was told that it is gone
            return 1.0
        if not self.open_calls:
            return 0.0
        answered = self.running * min(1.0, 1.0 / (self.teacher.seconds * self.slowness))
        share = answered / self.open_calls
        self.open_calls -= answered
        return share
