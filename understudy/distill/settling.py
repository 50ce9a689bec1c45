"""Waits until the gateways have taken a step up, and until a version has nothing in hand there."""

from collections.abc import Callable
from dataclasses import dataclass

from distill.replicas import alive, behind, refusal, under_way
from understudy.distill.registry import Registry

TAKE_UP_SECONDS = 60.0
DRAIN_SECONDS = 600.0
POLL_SECONDS = 1.0


class Stopped(Exception):
    """Somebody asked this process to end."""


@dataclass(frozen=True, slots=True)
class World:
    """Time, and what it costs: ``wait`` returns whether somebody has asked to end meanwhile.

    ``clock`` gives seconds since 1970, as heartbeats do.
    """

    clock: Callable[[], float]
    wait: Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Settled:
    """How many replicas have taken a revision up; ``why_not`` says who has not, and why."""

    replicas: int
    why_not: str | None = None


def wait_settled(registry: Registry, revision: int, world: World) -> Settled:
    """Wait until every live replica has the revision.  May raise RedisError.

    A wish to end is not heard meanwhile: it is for the end that this is waited for.
    """
    begun = world.clock()
    while True:
        now = world.clock()
        live = alive(registry.heartbeats(), now)
        late = behind(live, revision)
        if live and not late:
            return Settled(len(live))
        if now - begun >= TAKE_UP_SECONDS:
            why = f"{', '.join(late)}: not taken up within {TAKE_UP_SECONDS:g} s"
            return Settled(0, (refusal(live) or why) if live else "no replica is alive")
        world.wait(POLL_SECONDS)


def wait_drained(registry: Registry, version: str, world: World) -> int:
    """Wait until no live replica has a request of that version in hand; how many are left."""
    begun = world.clock()
    while True:
        now = world.clock()
        left = under_way(alive(registry.heartbeats(), now), version)
        if not left or now - begun >= DRAIN_SECONDS:
            return left
        world.wait(POLL_SECONDS)
