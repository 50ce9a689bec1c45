"""``understudy keys create``: make a key, show it once, and write its hash down."""

import hashlib
import json
import re
import secrets
import string
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from gateway.config_file import fix_of, message_of
from gateway.key_entries import KeyEntry, LimitsEntry
from understudy.keys.places import Where, opened
from understudy.keys.telling import described
from understudy.telling import CommandError, perform

PREFIX = "sk-us-"
# 62 to the 43rd is just above 2 to the 256th: as many keys as there are hashes.  No sign is among
# them at which a double click would end.
_SIGNS = string.ascii_letters + string.digits
_LENGTH = 43
_SPAN = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

_Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed with whoever gets the key.

    Parameters
    ----------
    tenant
        Whose it is, in logs, pairs and bills; the name unless said.
    model
        A model that it may ask for, may be repeated; all unless said.
    may_pin
        It may choose who answers.
    may_administer
        It may set what cascades are held to, `PUT /admin/cascades/{name}/objective`.
    dial
        The least and the greatest confidence that a request may ask for.
    requests_per_minute
        As many requests.
    tokens_per_minute
        As many tokens, read and written.
    usd_per_day
        As much may be spent, by UTC's days.
    max_open_requests
        As many at once, in each gateway.
    expires
        When it ends: 90d, 12h, 30m, or 2027-01-31, which is 00:00 UTC, or 2027-01-31T18:00:00Z.
    no_store
        No pair is kept of its requests.
    no_train
        No student learns from them.
    no_escalate
        The teacher is never asked for them.
    """

    tenant: str | None = None
    model: Annotated[list[str] | None, Parameter(negative=())] = None
    may_pin: _Flag = False
    may_administer: _Flag = False
    dial: Annotated[tuple[float, float] | None, Parameter(negative=())] = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: float | None = None
    max_open_requests: int | None = None
    expires: str | None = None
    no_store: _Flag = False
    no_train: _Flag = False
    no_escalate: _Flag = False


def create(
    name: str,
    *,
    where: Where | None = None,
    terms: Terms | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Make a key.  It is printed once, alone on stdout, and kept nowhere: only its hash is.

    Gateways take it within seconds.  To replace a key make a second one with the same --tenant,
    and revoke the first when nobody uses it any more.

    Parameters
    ----------
    name
        What tells this key from others.
    as_json
        Print JSON: the key and all that `list --json` tells of it.
    """

    def work() -> int:
        now = time.time()
        key = new_key()
        entry = _entry(name, key, terms or Terms(), now)
        with opened(where or Where()) as place:
            place.add(entry)
        if as_json:
            print(json.dumps({**described(entry, now), "source": place.source, "key": key}))
            return 0
        print(key)
        Console(stderr=True).print(
            Text(f"This is the key {entry.name}, in {place.name}. Nobody can show it again."),
            soft_wrap=True,
        )
        return 0

    return perform("create a key", work)


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))


def _entry(name: str, key: str, terms: Terms, now: float) -> KeyEntry:
    said = {
        "name": name,
        "tenant": terms.tenant,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "models": terms.model,
        "may_pin": terms.may_pin,
        "may_administer": terms.may_administer,
        "dial": terms.dial,
        "limits": {limit: getattr(terms, limit) for limit in LimitsEntry.model_fields},
        "expires": None if terms.expires is None else _end(terms.expires, now),
        "may_store": not terms.no_store,
        "may_train": not terms.no_train,
        "may_escalate": not terms.no_escalate,
    }
    try:
        return KeyEntry.model_validate(said)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = " ".join(f"--{str(part).replace('_', '-')}" for part in _option(problem["loc"]))
        told, fix = message_of(problem), fix_of(problem["type"])
        raise CommandError(": ".join(part for part in (where, told, fix) if part)) from None


def _option(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """What an operator wrote that became this place of an entry."""
    if place[:1] == ("limits",):
        return place[1:2]
    return ("model",) if place[:1] == ("models",) else place[:1]


def _end(expires: str, now: float) -> str | datetime:
    span = _SPAN.fullmatch(expires)
    if span is None:
        return expires
    return datetime.fromtimestamp(int(now), UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
