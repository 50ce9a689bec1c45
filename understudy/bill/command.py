"""``understudy bill``: what was spent, by tenant, cascade, day, month, role or kind."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from gateway.cascades import load_cascades
from gateway.config_file import ConfigError
from gateway.named_models import load_models
from gateway.stores.redis_keys import LEDGER_DAYS
from understudy.bill.books import Span, books_of, cascades_in, checked
from understudy.bill.printing import as_csv, as_json, show
from understudy.bill.statement import By, statement
from understudy.connecting import connect
from understudy.telling import CommandError, perform

_KNOWN = frozenset(By)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Choice:
    """What the bill is of.

    Parameters
    ----------
    by
        tenant, cascade, day, month, role, kind; several with commas, or say it again.
    first
        The first day, by UTC: 2026-11-01.  Without it, the first of the last day's month.
    last
        The last day, which is part of it.  Without it, today.
    cascade
        Only these cascades; several with commas, or say it again.
    config
        The YAML file whose cascades are meant, where none is named; without it all in Redis.
    """

    by: Annotated[tuple[str, ...], Parameter(negative=())] = (By.CASCADE,)
    first: Annotated[str | None, Parameter(name="--from")] = None
    last: Annotated[str | None, Parameter(name="--to")] = None
    cascade: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    config: Path | None = None


def bill(
    *,
    choice: Choice | None = None,
    style: Annotated[Literal["table", "csv", "json"], Parameter(name="--format")] = "table",
    redis_url: Annotated[str | None, Parameter(env_var="UNDERSTUDY_REDIS_URL")] = None,
) -> int:
    """What was spent, from the ledger that gateways keep in Redis.

    Parameters
    ----------
    style
        A table, CSV, or JSON.
    redis_url
        The Redis that the gateways ship to.
    """

    def work() -> int:
        if not redis_url:
            raise CommandError("no Redis is named: set UNDERSTUDY_REDIS_URL or say --redis-url")
        _make(choice or Choice(), style, redis_url, today())
        return 0

    return perform("make the bill", work)


def today() -> date:
    """The day that gateways write into now."""
    return datetime.now(UTC).date()


def _make(choice: Choice, style: str, redis_url: str, today: date) -> None:
    """Raises CommandError and RedisError."""
    by, span = _breakdown(choice.by), _span(choice.first, choice.last, today)
    names = _named(choice.cascade, choice.config)
    kept = span.kept(today)
    client = connect(redis_url)
    try:
        books = list(books_of(client, cascades_in(client) if names is None else names, kept))
    finally:
        client.close()
    rows, (total,) = statement(books, by), statement(books, ())
    if style == "csv":
        print(as_csv(rows, by), end="")
    elif style == "json":
        print(as_json(rows, total, by, span))
    else:
        show(rows, total, by, span)
    if span.first < kept.first:
        told = f"The ledger keeps {LEDGER_DAYS} days: it has nothing from before {kept.first}."
        Console(stderr=True).print(told, highlight=False)


def _listed(texts: Iterable[str]) -> list[str]:
    """What was said with commas or again, each once, in order."""
    names = (name.strip() for text in texts for name in text.split(","))
    return list(dict.fromkeys(name for name in names if name))


def _breakdown(texts: Iterable[str]) -> list[By]:
    """Raises CommandError."""
    chosen = []
    for name in _listed(texts):
        if name not in _KNOWN:
            raise CommandError(f"--by: {name!r} is none of {', '.join(By)}")
        chosen.append(By(name))
    return chosen


def _span(first: str | None, last: str | None, today: date) -> Span:
    """Raises CommandError."""
    until = today if last is None else _day("--to", last)
    since = until.replace(day=1) if first is None else _day("--from", first)
    if since > until:
        raise CommandError(f"--from {since} is after --to {until}")
    return Span(since, until)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option}: {text!r} is no day: write 2026-11-01") from None


def _named(cascades: Iterable[str], config: Path | None) -> list[str] | None:
    """None where neither names one.  Raises CommandError."""
    if names := [checked(name) for name in _listed(cascades)]:
        return names
    if config is None:
        return None
    try:
        # No model is asked, so no key is needed.
        names = [each.name for each in load_cascades(config, lambda _: "not-needed")]
        return names + [each.name for each in load_models(config, lambda _: "not-needed")]
    except ConfigError as error:
        raise CommandError(str(error)) from None
