"""What the gateways' heartbeats say: who is there, what is in force there, what a trial came to."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from routing.rollout import Generations
from routing.tally import ArmTally, Heartbeat, ShadowTally, Tallies, together

ALIVE_SECONDS = 10.0
# A replica that is gone stays known for so long, because its counts are part of a rollout's.
FORGOTTEN_SECONDS = 86_400.0
# By so much clocks may differ: leases and lives are a few times longer.
SKEW_SECONDS = 5.0

Heartbeats = Mapping[str, Heartbeat]


def alive(heartbeats: Heartbeats, now: float) -> Heartbeats:
    """Those that were heard of lately."""
    return {name: one for name, one in heartbeats.items() if now - one.at < ALIVE_SECONDS}


def clocks_off(earlier: Heartbeats, heartbeats: Heartbeats, now: float) -> list[str]:
    """Whose clock is not ours, and by how much, from two readings a moment apart.

    One that is ahead speaks from the future.  One that is behind seems gone, and speaks on.
    """
    found = []
    for name, one in sorted(heartbeats.items()):
        speaks = name in earlier and earlier[name].at != one.at
        if one.at - now > SKEW_SECONDS:
            found.append(f"{name} is {one.at - now:,.0f} s ahead")
        elif speaks and now - one.at >= ALIVE_SECONDS:
            found.append(f"{name} is {now - one.at:,.0f} s behind")
    return found


def forgotten(heartbeats: Heartbeats, now: float) -> list[str]:
    """The names of those that are long gone; only between rollouts do they count for nothing."""
    return [name for name, one in heartbeats.items() if now - one.at >= FORGOTTEN_SECONDS]


def behind(heartbeats: Heartbeats, revision: int) -> list[str]:
    """Which of them have not taken a revision up.

    Whoever refuses the newest state has not, whatever was in force there before.
    """
    return sorted(
        name
        for name, one in heartbeats.items()
        if one.revision < revision or one.refused is not None
    )


def orphaned(state: Generations | None, live: Heartbeats) -> int | None:
    """The revision that they go on with although the registry has lost its state, else None."""
    newest = max((one.revision for one in live.values()), default=0)
    return newest if state is None and newest else None


def refusal(heartbeats: Heartbeats) -> str | None:
    """Who of them refuses the newest state, and why; None where nobody does."""
    told = [f"{name}: {one.refused}" for name, one in sorted(heartbeats.items()) if one.refused]
    return "; ".join(told) or None


def under_way(heartbeats: Heartbeats, version: str) -> int:
    """How many requests a version still has in hand there."""
    return sum(one.open.get(version, 0) for one in heartbeats.values())


@dataclass(frozen=True, slots=True)
class Baseline:
    """What replicas had counted of a rollout when a trial of it began.

    What was under way then is counted in the trial, although it was admitted before: as many
    requests as a replica has in hand at once.
    """

    rollout: str
    heartbeats: Heartbeats

    def since(self, heartbeats: Heartbeats) -> Tallies:
        """What all of them, those that are gone included, have counted since."""
        total = together(heartbeats.values(), self.rollout)
        for name, one in self.heartbeats.items():
            # Whoever began anew, or is forgotten, has none of these counts in the total.
            if name in heartbeats and self._goes_on(one, heartbeats[name]):
                _take(total, together([one], self.rollout))
        return total

    def _goes_on(self, before: Heartbeat, after: Heartbeat) -> bool:
        if after.rollout != self.rollout:
            return False
        least = before.tallies if before.rollout == self.rollout else Tallies.empty()
        return not any(count < 0 for count in _less(after.tallies, least))


def _less(left: Tallies, right: Tallies) -> list[int]:
    return [
        getattr(one, each.name) - getattr(other, each.name)
        for one, other in zip(_parts(left), _parts(right), strict=True)
        for each in fields(one)
    ]


def _take(total: Tallies, part: Tallies) -> None:
    for one, other in zip(_parts(total), _parts(part), strict=True):
        for each in fields(one):
            setattr(one, each.name, getattr(one, each.name) - getattr(other, each.name))


def _parts(tallies: Tallies) -> tuple[ArmTally, ArmTally, ShadowTally]:
    return tallies.incumbent, tallies.candidate, tallies.shadow
