"""What was allowed and what was spent, second by second: the balance that a pacer pays back.

Seconds are those of the reports, so that late reports find their place.  A second is settled once
all reports of it should have come; from then on it counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor

from routing.document import count, items, mapping, number, numbers
from routing.pacing_goal import Tally

# Reports of a second are waited for so long.
LAG_SECONDS = 2
# What comes later than this after its second was settled says nothing of the traffic of now.
LATE_SECONDS = 10
# One report is spread over at most so many seconds, and no more seconds are settled at once.
MOST_SECONDS = 600
LONGEST_GAP = 86_400
TRAFFIC_SECONDS = 128
MINUTES = 61


@dataclass(frozen=True, slots=True)
class Row:
    """A second, or a minute: requests with a judged draft, all requests, what counts of them."""

    judged: float = 0.0
    requests: float = 0.0
    escalated: float = 0.0
    spent: float = 0.0

    def __add__(self, other: "Row") -> "Row":
        return Row(
            self.judged + other.judged,
            self.requests + other.requests,
            self.escalated + other.escalated,
            self.spent + other.spent,
        )

    def __mul__(self, part: float) -> "Row":
        return Row(
            self.judged * part, self.requests * part, self.escalated * part, self.spent * part
        )

    def document(self) -> list[float]:
        """As JSON has it."""
        return [self.judged, self.requests, self.escalated, self.spent]


NO_ROW = Row()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be spent: so much a second and so much a request, one of them 0.

    The balance lies between ``-debt`` and ``credit``: what is beyond is forgotten.
    """

    each_second: float
    each_request: float
    credit: float
    debt: float

    def settle(self, balance: float, seconds: float, row: Row) -> float:
        """The balance after so many seconds in which that happened."""
        allowed = self.each_second * seconds + self.each_request * row.requests
        return min(max(balance + allowed - row.spent, -self.debt), self.credit)


@dataclass(frozen=True, slots=True)
class Book:
    """The books of one objective.

    ``settled`` is the last second that counts, None before the first report.  ``pending`` holds
    the seconds after it, ``traffic`` the judged requests of those up to it, ``minutes`` the last
    hour.
    """

    settled: int | None = None
    balance: float = 0.0
    pending: Mapping[int, Row] = field(default_factory=dict)
    traffic: tuple[float, ...] = ()
    minutes: Mapping[int, Row] = field(default_factory=dict)

    def entered(self, tally: Tally, allowance: Allowance, now: float) -> "Book":
        """With one more report, which was read at this time."""
        whole = Row(tally.judged, tally.judged + tally.forced, tally.escalated, tally.spent)
        parts = min(max(round(tally.seconds), 1), MOST_SECONDS)
        row, last = whole * (1.0 / parts), min(floor(tally.at), floor(now))
        settled = last - parts if self.settled is None else self.settled
        pending, minutes, balance = dict(self.pending), dict(self.minutes), self.balance
        for second in range(last - parts + 1, last + 1):
            minutes[second // 60] = minutes.get(second // 60, NO_ROW) + row
            if second <= settled - LATE_SECONDS:
                balance = allowance.settle(balance, 0.0, row)
            else:
                place = max(second, settled + 1)
                pending[place] = pending.get(place, NO_ROW) + row
        oldest = floor(now) // 60 - MINUTES
        kept = {minute: sums for minute, sums in minutes.items() if minute > oldest}
        return replace(self, settled=settled, balance=balance, pending=pending, minutes=kept)

    def settled_until(self, second: int, allowance: Allowance) -> "Book":
        """With all seconds up to this one counted."""
        if self.settled is None or second <= self.settled:
            return self
        balance, pending, traffic = self.balance, dict(self.pending), list(self.traffic)
        for each in range(max(self.settled, second - LONGEST_GAP) + 1, second + 1):
            row = pending.pop(each, NO_ROW)
            balance = allowance.settle(balance, 1.0, row)
            traffic.append(row.judged)
        return replace(
            self,
            settled=second,
            balance=balance,
            pending={each: row for each, row in pending.items() if each > second},
            traffic=tuple(traffic[-TRAFFIC_SECONDS:]),
        )

    def last_hour(self, now: float) -> Row:
        """The last hour: the first of its minutes in part, evenly."""
        first, gone = floor(now) // 60 - 60, now % 60.0 / 60.0
        whole = (row for minute, row in self.minutes.items() if minute > first)
        return sum(whole, self.minutes.get(first, NO_ROW) * (1.0 - gone))

    def last_minute(self, now: float) -> Row:
        """The minute before this one."""
        return self.minutes.get(floor(now) // 60 - 1, NO_ROW)

    def document(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "settled": self.settled,
            "balance": self.balance,
            "pending": _rows(self.pending),
            "traffic": list(self.traffic),
            "minutes": _rows(self.minutes),
        }


def book_from_document(document: object, path: str) -> Book:
    """Read what ``Book.document`` wrote.  Raises PolicyError, which names the path."""
    fields = mapping(
        document, path, frozenset({"settled", "balance", "pending", "traffic", "minutes"})
    )
    settled = fields["settled"]
    return Book(
        settled=None if settled is None else count(settled, f"{path}.settled", least=0),
        balance=number(fields["balance"], f"{path}.balance"),
        pending=_read_rows(fields["pending"], f"{path}.pending"),
        traffic=numbers(fields["traffic"], f"{path}.traffic")[-TRAFFIC_SECONDS:],
        minutes=_read_rows(fields["minutes"], f"{path}.minutes"),
    )


def _rows(rows: Mapping[int, Row]) -> list[list[float]]:
    return [[at, *rows[at].document()] for at in sorted(rows)]


def _read_rows(document: object, path: str) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for place, entry in enumerate(items(document, path)):
        at, *sums = numbers(entry, f"{path}[{place}]", exactly=5)
        rows[floor(at)] = Row(*sums)
    return rows
