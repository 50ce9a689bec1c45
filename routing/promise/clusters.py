"""Conversations: their turns are not independent, so each of them is one bet.

A conversation bets on the mean over its first judged turns, of those that nobody graded as 0.  What
is promised is then about a conversation drawn at random, and one of these turns drawn at random;
where every request stands alone that is the same as before.

It bets once.  The name of one that has bet is known until it falls silent, so that what follows
under it is not taken for another conversation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from routing.promise.terms import Terms
from routing.steering import Grade

MOST_TURNS = 16  # the turns after that are passed over, and their grades too
# So many are known at a time; all of them are written down in every second.  While there is no room
# a new one does not count, whatever it would say: to forget another's name would have it bet twice.
MOST_OPEN = 5_000
# Grades of audits come when the teacher is through: so long a full conversation waits for its own.
SETTLED_SECONDS = 300.0
# Reports come once a second, and are not always taken up as fast.
REPORT_SECONDS = 2.0


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

    ``least`` is the smallest of its grades; ``last`` is in seconds since 1970, as is ``full_at``:
    when it had ``MOST_TURNS``, None before.  Turns and grades of that moment still count.
    ``is_over``: it has bet.
    """

    last: float
    turns: int = 0
    least: float = 1.0
    items: tuple[Item, ...] = ()
    full_at: float | None = None
    is_over: bool = False

    def turned(self, count: int, now: float) -> "Cluster":
        """After so many more judged turns."""
        if self.is_beyond(now):
            return replace(self, last=now)
        turns = self.turns + count
        return replace(self, last=now, turns=turns, full_at=now if turns >= MOST_TURNS else None)

    def is_settled(self, now: float) -> bool:
        """Whether it is full, has not bet, and all of its grades had time to come."""
        if self.full_at is None or self.is_over:
            return False
        return now - self.full_at >= SETTLED_SECONDS

    def is_beyond(self, at: float) -> bool:
        """Whether a turn of that time is none of its first ones."""
        return self.full_at is not None and at > self.full_at

    @property
    def count(self) -> int:
        """Over how many turns the mean is: what a client left is graded, and no judged turn."""
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
    """After so many more judged turns of these conversations, of which not all may have room."""
    if not turns:
        return clusters
    found = dict(clusters)
    for name, count in turns.items():
        before = found.get(name)
        if before is None and len(found) >= MOST_OPEN:
            continue
        found[name] = (before or Cluster(now)).turned(count, now)
    return found


class Fate(Enum):
    """What becomes of a grade of a conversation.

    ``COUNTS``: it is part of the mean.  ``ALONE``: it is a bet of its own.
    """

    COUNTS = "counts"
    ALONE = "alone"
    NOTHING = "nothing"


def fate_of(clusters: Clusters, grade: Grade, terms: Terms, now: float) -> Fate:
    """What becomes of a grade that came in now.

    When its turn was judged decides whether it is one of the first, and not when the grade came.

    A grade may come when its conversation has bet, in which its turn counted as 0.  Dropping it
    would drop what teachers are slow at.  A gain is dropped, a loss bets alone, with the weight of
    a whole conversation: no bet is won by that.  With S the sum of the n turns before, b <= 1 the
    loss and S <= n - 1, (1 - g S/n)(1 - g b) <= 1 - g (S + b)/n, what the mean with it bets, and
    so on for each further one.
    """
    if grade.conversation is None:
        return Fate.ALONE
    one = clusters.get(grade.conversation)
    if one is not None and one.is_beyond(now - grade.late - REPORT_SECONDS):
        return Fate.NOTHING
    if grade.late <= terms.idle_seconds:
        if one is None and len(clusters) >= MOST_OPEN:
            return Fate.NOTHING
        if one is not None and not one.is_over:
            return Fate.COUNTS
    return Fate.ALONE if grade.loss > terms.alpha else Fate.NOTHING


def graded(clusters: Clusters, items: Iterable[tuple[str, Item, float]], now: float) -> Clusters:
    """After these grades, all of which count: the conversation, its item, the least probability."""
    told: dict[str, list[tuple[Item, float]]] = {}
    for name, item, least in items:
        told.setdefault(name, []).append((item, least))
    found = dict(clusters)
    for name, more in told.items():
        before = found[name]
        found[name] = replace(
            before,
            last=now,
            least=min(before.least, *(least for _, least in more)),
            items=(*before.items, *(item for item, _ in more)),
        )
    return found


def closed(
    clusters: Clusters, now: float, idle_seconds: float
) -> tuple[Clusters, tuple[Cluster, ...]]:
    """Those that are known from now on, and those that bet: silent for long, or full."""
    silent = [name for name, one in clusters.items() if now - one.last >= idle_seconds]
    full = [name for name, one in clusters.items() if one.is_settled(now)]
    if not silent and not full:
        return clusters, ()
    known, over = dict(clusters), []
    for name in full:
        over.append(known[name])
        known[name] = replace(known[name], items=(), is_over=True)
    for name in silent:
        one = known.pop(name)
        if not one.is_over:
            over.append(one)
    return known, tuple(over)


def _mean(losses: list[float]) -> float | None:
    return sum(losses) / len(losses) if losses else None
