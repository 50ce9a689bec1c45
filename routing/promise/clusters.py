"""Conversations: their turns are not independent, so each of them is one bet.

A conversation bets on the mean over its judged turns, of those that nobody graded as 0.  What is
promised is then about a conversation drawn at random, and a turn of it drawn at random; where every
request stands alone that is the same as before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

MOST_TURNS = 16  # then it is over for the statistics, and what follows is another
MOST_OPEN = 20_000  # beyond that those silent for longest are closed early


@dataclass(frozen=True, slots=True)
class Item:
    """What one graded turn of a conversation says: its bin, the loss, and ``(L - alpha) / q``.

    ``is_answered`` is as in a grade.
    """

    place: int
    loss: float
    value: float
    is_kept: bool
    is_answered: bool = True


@dataclass(frozen=True, slots=True)
class Cluster:
    """A conversation so far: its judged turns, what is known of them, and when it was last seen.

    ``least`` is the smallest of its grades; ``last`` is in seconds since 1970.
    """

    last: float
    turns: int = 0
    least: float = 1.0
    items: tuple[Item, ...] = ()

    @property
    def count(self) -> int:
        """Over how many turns the mean is: a grade may come before its turn is counted."""
        return max(self.turns, len(self.items))

    def values(self, alpha: float) -> dict[int, float]:
        """The bet from each bin on, of the mean, scaled by nu."""
        nu = 1.0 / (1.0 / self.least - alpha)
        found: dict[int, float] = {}
        for item in self.items:
            found[item.place] = found.get(item.place, 0.0) + nu * item.value / self.count
        return found

    @property
    def kept_loss(self) -> float | None:
        """The mean loss of its kept drafts that were graded; None without one."""
        return _mean([item.loss for item in self.items if item.is_answered and item.is_kept])

    @property
    def deferred_loss(self) -> float | None:
        """The same of those that were deferred."""
        return _mean([item.loss for item in self.items if item.is_answered and not item.is_kept])


Clusters = Mapping[str, Cluster]


def turned(clusters: Clusters, turns: Mapping[str, int], now: float) -> Clusters:
    """After so many more judged turns of these conversations."""
    if not turns:
        return clusters
    found = dict(clusters)
    for name, count in turns.items():
        before = found.pop(name, None) or Cluster(now)
        found[name] = replace(before, turns=before.turns + count, last=now)  # the newest is last
    return found


def graded(clusters: Clusters, items: Iterable[tuple[str, Item, float]], now: float) -> Clusters:
    """After these grades: the conversation, what it says, and the least probability of then."""
    found = dict(clusters)
    for name, item, least in items:
        before = found.pop(name, None) or Cluster(now)
        least = min(before.least, least)
        found[name] = replace(before, items=(*before.items, item), least=least, last=now)
    return found


def closed(
    clusters: Clusters, now: float, idle_seconds: float
) -> tuple[Clusters, tuple[Cluster, ...]]:
    """Those that go on, and those that are over: long silent, long enough, or too many."""
    over = {
        name: one
        for name, one in clusters.items()
        if one.count >= MOST_TURNS or now - one.last >= idle_seconds
    }
    too_many = len(clusters) - len(over) - MOST_OPEN
    if too_many > 0:
        left = (item for item in clusters.items() if item[0] not in over)
        over.update(islice(left, too_many))
    if not over:
        return clusters, ()
    going_on = {name: one for name, one in clusters.items() if name not in over}
    return going_on, tuple(over.values())


def _mean(losses: list[float]) -> float | None:
    return sum(losses) / len(losses) if losses else None
