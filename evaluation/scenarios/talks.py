"""Conversations: which requests are turns of one, how alike they are, and who stays with whom."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from evaluation.outcomes import Booleans, Integers
from evaluation.scenarios.scenario import Conversations

MOST_OPEN = 512  # of those that a next turn may belong to; the oldest are over first


@dataclass(slots=True)
class _Talk:
    name: str
    place: int
    stays: int = 0  # so many more turns go to the teacher without a draft


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """Of each request its place in the population, its conversation, and whether it is stuck."""

    places: Integers
    names: tuple[str, ...]
    are_stuck: Booleans

    def part(self, first: int, last: int) -> "Turns":
        """Those of one replica."""
        names = self.names[first:last]
        return Turns(self.places[first:last], names, self.are_stuck[first:last])


@dataclass(slots=True, eq=False)
class Talks:
    """All conversations of a run; without any, requests stand alone and have no names."""

    told: Conversations
    _open: list[_Talk] = field(default_factory=list)
    _by_name: dict[str, _Talk] = field(default_factory=dict)
    _begun: int = 0

    def turns(self, places: Integers, generator: np.random.Generator) -> Turns:
        """Make turns of requests that were drawn each for itself."""
        if self.told.turns <= 1.0:
            return Turns(places, (), np.zeros(len(places), dtype=np.bool_))
        goes_on = generator.random(len(places)) < 1.0 - 1.0 / self.told.turns
        alike = generator.random(len(places)) < self.told.alike
        which = generator.random(len(places))
        told = []
        for number, place in enumerate(places.tolist()):
            if not (goes_on[number] and self._open):
                talk = self._begin(place)
            else:
                talk = self._open[int(which[number] * len(self._open))]
                talk.place = talk.place if alike[number] else place
            told.append((talk.place, talk.name, talk.stays > 0))
            talk.stays = max(0, talk.stays - 1)
        found = np.array([place for place, _, _ in told], dtype=np.int64)
        stuck = np.array([is_stuck for _, _, is_stuck in told], dtype=np.bool_)
        return Turns(found, tuple(name for _, name, _ in told), stuck)

    def escalated(self, names: Iterable[str]) -> None:
        """A draft of each of these was not enough: the next turns stay with the teacher."""
        if self.told.sticky_turns:
            for name in names:
                if talk := self._by_name.get(name):
                    talk.stays = self.told.sticky_turns

    def _begin(self, place: int) -> _Talk:
        self._begun += 1
        talk = _Talk(f"talk-{self._begun}", place)
        self._open.append(talk)
        self._by_name[talk.name] = talk
        if len(self._open) > MOST_OPEN:
            del self._by_name[self._open.pop(0).name]
        return talk
