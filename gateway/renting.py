"""The meters of servers whose GPUs are rented: one a server, whoever asks its models."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.ports import Clock
from routing.gpu_time import NANOSECONDS_PER_SECOND, GpuLane, GpuMeter, Rent


@dataclass(frozen=True, slots=True)
class Rented:
    """A model on rented GPUs.  ``is_by_time`` False: its calls are charged by their tokens.

    ``rent`` is its part of its server's rent so far, in pico-dollars.
    """

    lane: GpuLane
    is_by_time: bool
    rent: Callable[[], int]


class Rents:
    """The meters of rented servers, each since it was first asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[str, GpuMeter] = {}

    def rented(self, server: str, rent: Rent, *, is_by_time: bool) -> Rented:
        """A model's place at its server's meter."""
        meter = self._meters.get(server)
        if meter is None:
            meter = self._meters[server] = GpuMeter(rent, self._now())
        lane = meter.lane()
        return Rented(lane, is_by_time, lambda: lane.rent(self._now()))

    def _now(self) -> int:
        return nanoseconds(self._clock())


def nanoseconds(seconds: float) -> int:
    """A time of a steady clock, as meters want it."""
    return int(seconds * NANOSECONDS_PER_SECOND)
