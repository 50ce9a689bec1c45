"""The books in Redis, as readers see them: the sums of each cascade and day."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

import redis

from gateway.stores.redis_keys import LEDGER_DAYS, ledger_key
from routing.ledger import Sums, Unreadable, decode
from understudy.telling import CommandError

# Books of so many days are asked for at once; a day has some thousand fields.
PAGE_DAYS = 50

_CASCADE = r"[a-z0-9][a-z0-9._-]{0,63}"
_KEY = re.compile(rf"understudy:\{{({_CASCADE})\}}:ledger:\d{{4}}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Span:
    """Days by UTC, both of them included."""

    first: date
    last: date

    def days(self) -> Sequence[date]:
        """All of them."""
        return [self.first + timedelta(n) for n in range((self.last - self.first).days + 1)]

    def kept(self, today: date) -> "Span":
        """That part of it of which there can be books; a clock may be a day ahead of this one."""
        oldest, newest = today - timedelta(LEDGER_DAYS), today + timedelta(1)
        return Span(max(self.first, oldest), min(self.last, newest))


@dataclass(frozen=True, slots=True)
class Book:
    """One cascade's day."""

    cascade: str
    day: date
    sums: Sums


def cascades_in(client: redis.Redis) -> list[str]:
    """The cascades that have books, by name."""
    found = (
        _KEY.fullmatch(key.decode(errors="replace"))
        for key in client.scan_iter("understudy:{*}:ledger:*", count=1000, _type="hash")
    )
    return sorted({match[1] for match in found if match})


def checked(cascade: str) -> str:
    """The name, where it can be one.  Raises CommandError."""
    if not re.fullmatch(_CASCADE, cascade):
        raise CommandError(f"--cascade: {cascade!r} cannot be a cascade's name")
    return cascade


def books_of(client: redis.Redis, cascades: Sequence[str], span: Span) -> Iterator[Book]:
    """All books of these cascades and days.  Raises CommandError where one makes no sense."""
    days = span.days()
    for cascade in cascades:
        for start in range(0, len(days), PAGE_DAYS):
            page = days[start : start + PAGE_DAYS]
            pipeline = client.pipeline(transaction=False)
            for day in page:
                pipeline.hgetall(ledger_key(cascade, day.isoformat()))
            for day, fields in zip(page, cast("Any", pipeline.execute()), strict=True):
                if fields:
                    yield Book(cascade, day, _sums(ledger_key(cascade, day.isoformat()), fields))


def _sums(key: str, fields: dict[bytes, bytes]) -> Sums:
    """Raises CommandError."""
    try:
        return decode((field.decode(), int(amount)) for field, amount in fields.items())
    except (ValueError, Unreadable) as error:
        raise CommandError(f"{key} holds what no gateway writes: {error}") from None
