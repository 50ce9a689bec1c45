"""What one gateway makes of the teacher's queue: who has room, how pressed it is, what it learns.

Pressure and limit are routing's own.  As in the gateway, the queue is looked at now and then, and
a call tells of itself when its first byte comes.
"""

import heapq
from dataclasses import dataclass, field

from evaluation.scenarios.scenario import Teacher
from evaluation.scenarios.teacher import Queue
from routing.concurrency import AdaptiveLimit
from routing.pressure import Bounds, Pressure, Seen

SPARE_SHARE = 0.8  # of its calls: beyond that, nothing is asked that can wait


@dataclass(slots=True)
class Guard:
    """``open_calls`` are this gateway's own; ``is_easing``: its threshold may give way."""

    teacher: Teacher
    is_easing: bool = False
    open_calls: float = 0.0
    limit: AdaptiveLimit | None = field(init=False)
    _pressure: Pressure = field(default_factory=Pressure)
    _granted: int = 0
    _denied: int = 0
    _first_bytes: list[tuple[float, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        watch = self.teacher.queue
        is_learnt = watch is not None and watch.adaptive_limit
        self.limit = AdaptiveLimit(self.teacher.max_concurrent) if is_learnt else None

    @property
    def max_calls(self) -> int:
        """How many calls may be open now."""
        return self.teacher.max_concurrent if self.limit is None else self.limit.calls

    @property
    def has_spare_room(self) -> bool:
        """Whether something may be asked that can wait."""
        return self.open_calls < SPARE_SHARE * self.max_calls

    @property
    def pressure(self) -> float:
        """How hard the teacher is pressed, in [0, 1]."""
        return self._pressure.value

    @property
    def easing(self) -> float:
        """The pressure that the threshold gives way to."""
        return self._pressure.value if self.is_easing else 0.0

    def room(self, wanted: int) -> int:
        """How many of so many calls may be made; the others are denied."""
        free = max(0, int(self.max_calls - self.open_calls))
        granted = min(wanted, free)
        self._granted += granted
        self._denied += wanted - granted
        return granted

    def ask(self, calls: int, queue: Queue, now: float) -> None:
        """Make so many calls."""
        if self.limit is not None:
            for each in range(1, calls + 1):
                seconds = queue.first_byte_seconds(each)
                load = int(self.open_calls) + each
                heapq.heappush(self._first_bytes, (now + seconds, load, seconds))
        self.open_calls += calls
        queue.ask(calls)

    def look(self, queue: Queue, now: int) -> None:
        """Ask how long the queue is, where it is time for that."""
        watch = self.teacher.queue
        if watch is None or now % watch.every:
            return
        waiting = None if queue.is_down else queue.waiting
        asked = self._granted + self._denied
        seen = Seen(waiting=waiting, denied=self._denied / asked if asked else None)
        self._granted = self._denied = 0
        bounds = Bounds(waiting_at_most=watch.waiting_at_most)
        self._pressure = self._pressure.after(seen, bounds, watch.every)
        if self.limit is not None and (waiting or 0.0) > watch.waiting_at_most:
            self.limit.overloaded(float(now))

    def pass_second(self, answered: float, now: float) -> None:
        """That share of all open calls was answered; first bytes have come until ``now``."""
        self.open_calls *= 1.0 - answered
        while self.limit is not None and self._first_bytes and self._first_bytes[0][0] <= now:
            at, load, seconds = heapq.heappop(self._first_bytes)
            self.limit.first_byte(load, seconds, at)

    def lose(self) -> None:
        """Nothing that is open will be answered."""
        self.open_calls = 0.0
        self._first_bytes.clear()
