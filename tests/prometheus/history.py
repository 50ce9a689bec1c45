"""Snapshots of real metrics pages, put into Prometheus at times of our own choosing.

So hours pass in seconds, and what a rate over an hour has to come to is known exactly.  The pages
are those of the gateways; only when they were scraped is made up.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain

from tests.prometheus.books import Books, Key, is_by_time
from tests.prometheus.server import Labels, series_line
from tests.prometheus.traffic import Exposition, Snapshot

# Grafana's steps divide it, so that every window begins and ends with a scrape.
SCRAPE_SECONDS = 15
# Long ago, wherever the clock of this machine stands, and in two months, so that both have a bill:
# 30 May 2025, 9:00, and 17 June 2025, noon.
MAY, JUNE = 1_748_595_600, 1_750_161_600
JOB = "understudy"

# What dashboards and rules read; the rest would only take time.
READ = ("understudy_", "process_start_time_seconds")

# Values of series by the metric's name and their labels.
Indexed = dict[str, dict[Labels, Decimal]]


@dataclass(frozen=True)
class Replica:
    """One gateway's part: what was read of it at each moment, and what its books say."""

    instance: str
    snapshots: Sequence[Snapshot]
    books: Books
    _series: dict[tuple[int, str], Mapping[Labels, Decimal]] = field(default_factory=dict)

    def lines(self, moment: int) -> Iterator[str]:
        """What is scraped of it at a moment, but for the time."""
        target = {"job": JOB, "instance": self.instance}
        yield series_line("up", target.items(), "1")
        for (name, labels), value in self.snapshots[moment].page.items():
            if name.startswith(READ):
                yield series_line(name, [*labels, *target.items()], str(value))

    def by_time(self, moment: int) -> dict[Key, Decimal]:
        """Dollars that are paid by time, of which only the gateway knows the exact sum."""
        page = self.snapshots[moment].page
        return {which: value for which, value in page.items() if is_by_time(which)}

    def series(self, moment: int, name: str) -> Mapping[Labels, Decimal]:
        """What its page said of a metric at a moment."""
        which = moment, name
        if which not in self._series:
            page = self.snapshots[moment].page
            found = {labels: value for (each, labels), value in page.items() if each == name}
            self._series[which] = found
        return self._series[which]


@dataclass(frozen=True)
class Span:
    """A moment, and for how many scrapes it lasts, if it has a name under which to find it.

    It follows the one before at once, or begins at a time ``since``.  ``every`` so many seconds
    there is a scrape.
    """

    moment: int
    scrapes: int = 1
    name: str | None = None
    since: float | None = None
    every: int = SCRAPE_SECONDS


@dataclass
class History:
    """What Prometheus was given.  ``spans`` are in order; ``times`` is when named ones end."""

    replicas: Sequence[Replica]
    spans: Sequence[Span]
    times: dict[str, float] = field(default_factory=dict)
    _scrapes: list[tuple[float, int]] = field(default_factory=list)
    _books: dict[int, Indexed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at = 0.0
        for span in self.spans:
            at = span.since or at
            for _ in range(span.scrapes):
                self._scrapes.append((at, span.moment))
                at += span.every
            if span.name is not None:
                self.times[span.name] = at - span.every

    @property
    def began(self) -> float:
        """The time of the first scrape."""
        return self._scrapes[0][0]

    def lines(self) -> Iterator[str]:
        """All that was scraped, in order, as OpenMetrics."""
        begun: dict[int, list[str]] = {}
        for at, moment in self._scrapes:
            if moment not in begun:
                begun[moment] = [*chain.from_iterable(one.lines(moment) for one in self.replicas)]
            end = f"{at:.3f}\n"
            yield from (line + end for line in begun[moment])

    def moment(self, at: float) -> int:
        """The moment that was scraped last at a time, or the first one before that."""
        place = bisect_right(self._scrapes, at, key=lambda scrape: scrape[0])
        return self._scrapes[max(place - 1, 0)][1]

    def count_scrapes(self, at: float, seconds: float) -> int:
        """How many scrapes there were in a window."""
        return sum(at - seconds <= scraped <= at for scraped, _ in self._scrapes)

    def scraped(self, replica: int, at: float, seconds: float) -> list[tuple[float, Exposition]]:
        """What was scraped of a replica in a window, and when."""
        pages = self.replicas[replica].snapshots
        return [
            (when, pages[moment].page)
            for when, moment in self._scrapes
            if at - seconds <= when <= at
        ]

    def pages(self, at: float) -> list[Exposition]:
        """What stood on each replica's page."""
        moment = self.moment(at)
        return [replica.snapshots[moment].page for replica in self.replicas]

    def books(self, at: float) -> Indexed:
        """What all counters together are to say at a time, by the books."""
        moment = self.moment(at)
        if moment not in self._books:
            rows: list[Mapping[Key, Decimal]] = [
                one.books.counters(moment) for one in self.replicas
            ]
            rows += [one.by_time(moment) for one in self.replicas]
            self._books[moment] = _added(rows)
        return self._books[moment]

    def told(self, at: float, name: str) -> list[Mapping[Labels, Decimal]]:
        """What each page says of a metric."""
        moment = self.moment(at)
        return [replica.series(moment, name) for replica in self.replicas]

    def first_told(self, name: str, since: float, at: float) -> list[dict[Labels, Decimal]]:
        """With what each series of a metric began to be told in a time, replica by replica."""
        found: list[dict[Labels, Decimal]] = [{} for _ in self.replicas]
        for moment in range(self.moment(since), self.moment(at) + 1):
            for first, replica in zip(found, self.replicas, strict=True):
                for labels, value in replica.series(moment, name).items():
                    first.setdefault(labels, value)
        return found


def _added(parts: Iterable[Mapping[Key, Decimal]]) -> Indexed:
    total: Indexed = defaultdict(lambda: defaultdict(Decimal))
    for part in parts:
        for (name, labels), value in part.items():
            total[name][labels] += value
    return total
