"""The meters of servers whose GPUs are rented: one a server, whoever asks its models."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from gateway.ports import Clock
from routing.gpu_time import NANOSECONDS_PER_SECOND, GpuLane, GpuMeter, Rent


@dataclass(frozen=True, slots=True)
class Rented:
    """A model on rented GPUs.  ``is_by_time`` False: its calls are charged by their tokens.

    ``lanes`` has that of each of its servers, which may be one and the same; ``rent`` is its part
    of their rent so far, in pico-dollars.
    """

    lanes: Sequence[GpuLane]
    is_by_time: bool
    rent: Callable[[], int]


class Rents:
    """The meters of rented servers, each since it was first asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[str, GpuMeter] = {}
        self._known: dict[tuple[str, Hashable], Rented] = {}

    def rented(
        self, server: str, rent: Rent, *, is_by_time: bool, whose: Hashable = None
    ) -> Rented:
        """A model's place at its server's meter; the same one each time ``whose`` is the same."""
        known = self._known.get((server, whose))
        if known is not None:
            return known
        meter = self._meters.get(server)
        if meter is None:
            meter = self._meters[server] = GpuMeter(rent, self._now())
        lane = meter.lane()
        made = Rented([lane], is_by_time, lambda: lane.rent(self._now()))
        if whose is not None:
            self._known[server, whose] = made
        return made

    def _now(self) -> int:
        return nanoseconds(self._clock())


def together(places: Sequence[Rented]) -> Rented:
    """A model's places at all its servers' meters, at least one, as one; in their order."""
    if len(places) == 1:
        return places[0]
    each = list({id(one): one for one in places}.values())  # several addresses may be one server
    lanes = [lane for one in places for lane in one.lanes]
    return Rented(lanes, places[0].is_by_time, lambda: sum(one.rent() for one in each))


class RunningRent:
    """What is paid for the servers that the students of a cascade are on: it never falls.

    A server counts from when a student on it is in force or tried until none is; who pays for it
    before and after that, the gateway does not know.
    """

    def __init__(self) -> None:
        self._before = 0
        self._running: dict[int, tuple[Rented, int]] = {}

    def be_on(self, places: Iterable[Rented | None]) -> None:
        """From now on these run, and no others."""
        self._before = self.pico()
        self._running = {id(one): (one, one.rent()) for one in places if one is not None}

    def pico(self) -> int:
        """The rent so far, in pico-dollars."""
        running = (one.rent() - since for one, since in self._running.values())
        return self._before + sum(running)


def nanoseconds(seconds: float) -> int:
    """A time of a steady clock, as meters want it."""
    return int(seconds * NANOSECONDS_PER_SECOND)
