"""How expectations are written: sums over what the books say of a window, label by label.

Where only the gateway can know a number, such as how long something took, it is reckoned anew from
the metrics pages, without PromQL; ``test_counters.py`` holds the pages to the books.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

from tests.prometheus.history import History
from tests.prometheus.server import Labels

# What a rate may be off, for Prometheus extrapolates.
TOLERANCE = Decimal("0.01")
# What floats make of a difference that is none.
TINY = Decimal("1e-12")
ZERO = Decimal(0)
# All cascades, those among them that nobody configured.
ALL: Collection[str] = ()

Vector = dict[Labels, Decimal]
# A label's value, some of them, or what it may not be.
Matcher = str | Sequence[str] | Callable[[str], bool]
How = Callable[[Sequence[Decimal]], Decimal]


def but(*values: str) -> Callable[[str], bool]:
    """Any value of a label except these."""
    return lambda value: value not in values


class Window:
    """What happened in a time that ends at a moment of the history, over all replicas.

    What was before the first scrape no Prometheus can know.  ``chosen`` are the cascades that are
    looked at.
    """

    def __init__(
        self, history: History, at: float, seconds: float, chosen: Collection[str] = ALL
    ) -> None:
        self.history = history
        self.at = at
        self.seconds = Decimal(seconds)
        self.chosen = chosen
        self._since = at - seconds

    def grew(self, name: str, *by: str, **where: Matcher) -> Vector:
        """By how much a counter grew, by the books, apart by some labels."""
        first, last = (self.history.books(at).get(name, {}) for at in (self._since, self.at))
        grown = {labels: value - first.get(labels, ZERO) for labels, value in last.items()}
        return summed(matching(grown, where, self.chosen), by)

    def pace(self, name: str, *by: str, **where: Matcher) -> Vector:
        """The same in a second."""
        return times(self.grew(name, *by, **where), 1 / self.seconds)

    def told(self, name: str, *by: str, **where: Matcher) -> Vector:
        """By how much something grew by the pages, for what only the gateway can know.

        And for series that begin with the first thing that they count, which is not seen to grow.
        """
        first = self.history.first_told(name, self._since, self.at)
        last = self.history.told(self.at, name)
        grown = [
            matching(_less(now, then), where, self.chosen)
            for then, now in zip(first, last, strict=True)
        ]
        return summed(chain.from_iterable(grown), by)


def summed(samples: Iterable[tuple[Labels, Decimal]], by: Sequence[str]) -> Vector:
    """Samples added up apart by some labels."""
    found: Vector = defaultdict(Decimal)
    for labels, value in samples:
        found[only(labels, by)] += value
    return dict(found)


def matching(
    series: Mapping[Labels, Decimal], where: Mapping[str, Matcher], chosen: Collection[str]
) -> Iterator[tuple[Labels, Decimal]]:
    """The samples whose labels match, of chosen cascades where they are of any."""
    for labels, value in series.items():
        known = dict(labels)
        if is_chosen(labels, chosen) and all(
            _matches(known.get(name, ""), m) for name, m in where.items()
        ):
            yield labels, value


def is_chosen(labels: Labels, chosen: Collection[str]) -> bool:
    """Whether a series is of a chosen cascade, or of none."""
    cascade = dict(labels).get("cascade")
    return cascade is None or chosen == ALL or cascade in chosen


def _less(now: Mapping[Labels, Decimal], then: Mapping[Labels, Decimal]) -> Vector:
    return {labels: value - then[labels] for labels, value in now.items()}


def _matches(value: str, matcher: Matcher) -> bool:
    if callable(matcher):
        return matcher(value)
    return value == matcher if isinstance(matcher, str) else value in matcher


def times(vector: Vector, factor: Decimal) -> Vector:
    """Each value times a number."""
    return {labels: value * factor for labels, value in vector.items()}


def plus(*vectors: Vector) -> Vector:
    """The values of all of them, added up by their labels."""
    total: Vector = defaultdict(Decimal)
    for vector in vectors:
        for labels, value in vector.items():
            total[labels] += value
    return dict(total)


def minus(vector: Vector, *others: Vector) -> Vector:
    """The first less the others, where the first has a value."""
    less = plus(*others)
    return {labels: value - less.get(labels, Decimal(0)) for labels, value in vector.items()}


def ratio(part: Vector, whole: Vector) -> Vector:
    """The part of each whole that is more than nothing."""
    zero = Decimal(0)
    return {labels: part.get(labels, zero) / value for labels, value in whole.items() if value > 0}


def of_one(parts: Vector, whole: Vector) -> Vector:
    """Each part as a share of one number; nothing where that is nothing."""
    (total,) = whole.values() or (Decimal(0),)
    return {labels: part / total for labels, part in parts.items()} if total else {}


def quantile(of: float, buckets: Vector) -> Vector:
    """A quantile for each group of cumulative buckets, apart by their other labels.

    Within a bucket all values are taken to lie evenly; beyond the last bound there is no telling.
    """
    groups: dict[Labels, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for labels, count in buckets.items():
        bound = Decimal(dict(labels)["le"].replace("+Inf", "Infinity"))
        others = frozenset((name, value) for name, value in labels if name != "le")
        groups[others].append((bound, count))
    return {
        labels: _quantile(Decimal(str(of)), sorted(group))
        for labels, group in groups.items()
        if max(count for _, count in group) > 0
    }


def _quantile(of: Decimal, buckets: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    rank = of * buckets[-1][1]
    below, start = Decimal(0), Decimal(0)
    for bound, count in buckets:
        if count >= rank:
            if bound.is_infinite():
                return start
            return start + (bound - start) * (rank - below) / (count - below)
        below, start = count, bound
    raise AssertionError("the last bucket holds all")


@dataclass(frozen=True)
class Shown:
    """What one panel shows: ``range`` is all that it shows, ``pace`` what a graph's rate is of."""

    range: Window
    pace: Window

    @property
    def history(self) -> History:
        return self.range.history

    def over(self, seconds: float, ago: float = 0) -> Window:
        """Another window, which ends some time ago."""
        return Window(self.history, self.range.at - ago, seconds, self.range.chosen)

    def gauge(self, name: str, *by: str, how: How = max, **where: Matcher) -> Vector:
        """What the replicas' pages say of a gauge, brought together."""
        found: dict[Labels, list[Decimal]] = defaultdict(list)
        for page in self.history.told(self.range.at, name):
            for labels, value in matching(page, where, self.range.chosen):
                found[only(labels, by)].append(value)
        return {labels: how(values) for labels, values in found.items()}


Expected = Callable[[Shown], Vector]


def empty(reason: str) -> Expected:
    """Nothing, or 0, for a reason that stands in the table."""
    assert reason
    return lambda _: {}


def only(labels: Labels, names: Sequence[str]) -> Labels:
    """Some of the labels."""
    return frozenset((name, value) for name, value in labels if name in names)


def mean(values: Sequence[Decimal]) -> Decimal:
    """Their average."""
    return sum(values, Decimal(0)) / len(values)


def count(values: Sequence[Decimal]) -> Decimal:
    """How many there are."""
    return Decimal(len(values))


def total(values: Sequence[Decimal]) -> Decimal:
    """All of them together."""
    return sum(values, Decimal(0))


def differences(
    found: Mapping[Labels, Decimal], due: Vector, within: Decimal = TOLERANCE, by: Decimal = TINY
) -> list[str]:
    """What is wrong with a result.  A series that is 0, or no number, may as well be missing.

    A number may be off by a part ``within`` of it, and ``by`` so much.
    """
    wrong = []
    shown = {labels: value for labels, value in found.items() if value.is_finite()}
    for labels in sorted({*shown, *due}, key=sorted):
        value, wanted = shown.get(labels, ZERO), due.get(labels, ZERO)
        if abs(value - wanted) > abs(wanted) * within + by:
            seen = value if labels in shown else "nothing"
            wrong.append(f"{dict(sorted(labels))}: shows {seen}, and it was {wanted:.12g}")
    return wrong
