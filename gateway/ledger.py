"""What every request came to, for chargeback: added up in memory by tenant, and every second what
changed goes through the journal to Redis.

A killed process loses what it had added up since; a journal that is full, nothing: the sums stay.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Protocol

from gateway.facts import AuditOver, BothAnswered, DraftCompleted, RequestSettled, ShadowDrafted
from gateway.passage import PassedThrough
from gateway.ports import Clock, PairLog, StreamKind
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.posting import SCHEMA_VERSION, Posting, encode_posting
from routing.ledger import NOBODY, Sums, decode
from routing.vocabulary import Basis, Kind

POST_SECONDS = 1.0
# So often where the journal cannot get rid of what it has: the ledger shall not be what fills it.
POST_SECONDS_WHEN_BACKED_UP = 60.0
# A posting is one command of Redis', which does nothing else meanwhile.
FIELDS_PER_POSTING = 1000
DAY_SECONDS = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class PostingLog(PairLog, Protocol):
    """The journal, as the ledger sees it."""

    @property
    def is_backed_up(self) -> bool:
        """Whether it has long had no way to get rid of what it has."""


class Ledger:
    """The sums of one process that are not in the journal yet, by day, by UTC, and cascade."""

    def __init__(self, origin: str, epoch: Clock) -> None:
        """``origin`` is this process' own name, never used before; ``epoch`` counts from 1970."""
        self._origin = origin
        self._epoch = epoch
        self._sums: dict[tuple[int, str], Sums] = {}
        self._numbers: dict[str, int] = {}
        self._since: float | None = None

    @property
    def waiting_since(self) -> float | None:
        """The time of the oldest sums that are not in the journal yet; None where all are."""
        return self._since

    def settled(self, fact: RequestSettled) -> None:
        """Add what one request came to."""
        if fact.cascade is None:
            return
        sums, tenant = self._open(fact.cascade), fact.tenant or NOBODY
        sums.count(tenant, fact.ending)
        for entry in fact.entries:
            sums.charge(tenant, entry)
        if fact.baseline is not None:
            sums.compare(tenant, fact.baseline)

    def passed_through(self, fact: PassedThrough) -> None:
        """Add what a request to a named model came to; tokenizers cost nothing."""
        if fact.model is None or fact.route.is_free:
            return
        sums, tenant = self._open(fact.model), fact.tenant or NOBODY
        sums.count(tenant, fact.outcome)
        if fact.entry is not None:
            sums.charge(tenant, fact.entry)

    def draft_completed(self, fact: DraftCompleted) -> None:
        """Add what finishing an abandoned draft took; its request's tenant pays."""
        sums = self._open(fact.cascade)
        sums.charge(fact.tenant or NOBODY, fact.leg.entry(fact.kind))

    def shadow_drafted(self, fact: ShadowDrafted) -> None:
        """Add what a draft took that nobody gets; its request's tenant pays."""
        for leg in fact.legs:
            sums = self._open(fact.cascade)
            sums.charge(fact.tenant or NOBODY, leg.entry(Kind.SHADOW))

    def audit_over(self, fact: AuditOver) -> None:
        """Add what an audit took; its request's tenant pays."""
        for leg in fact.legs:
            sums = self._open(fact.cascade)
            sums.charge(fact.tenant or NOBODY, leg.entry(Kind.AUDIT))

    def both_answered(self, fact: BothAnswered) -> None:
        """Add what one held-out request says of the baseline."""
        if fact.basis is Basis.SAMPLE:
            self._open(fact.cascade).correct(fact.tenant or NOBODY, fact.correction)

    def probed(self, fact: TeacherProbed | CachedTokensAsked) -> None:
        """Add what a question of the gateway's own took; no tenant asked for it."""
        for leg in fact.legs:
            self._open(fact.cascade).charge(NOBODY, leg.entry(Kind.AUDIT))

    def post(self, log: PairLog) -> None:
        """Write all sums to the journal; what that refuses stays, for the next time."""
        for (day, cascade), sums in list(self._sums.items()):
            fields = list(sums.encode().items())
            while fields:
                part = fields[:FIELDS_PER_POSTING]
                if not self._append(log, day, cascade, dict(part)):
                    break
                del fields[:FIELDS_PER_POSTING]
            if fields:
                self._sums[day, cascade] = decode(fields)
            else:
                del self._sums[day, cascade]
        if not self._sums:
            self._since = None

    def _append(self, log: PairLog, day: int, cascade: str, amounts: Mapping[str, int]) -> bool:
        number = self._numbers.get(cascade, 0) + 1
        posting = Posting(
            schema_version=SCHEMA_VERSION,
            time=self._epoch(),
            origin=self._origin,
            number=number,
            day=date.fromordinal(_EPOCH_DAY + day).isoformat(),
            amounts=amounts,
        )
        if not log.append(cascade, encode_posting(posting), kind=StreamKind.LEDGER):
            return False
        self._numbers[cascade] = number
        return True

    def _open(self, cascade: str) -> Sums:
        now = self._epoch()
        if self._since is None:
            self._since = now
        key = int(now // DAY_SECONDS), cascade
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = Sums()
        return sums


@asynccontextmanager
async def posting(
    ledger: Ledger, log: PostingLog, on_bug: Callable[[], None]
) -> AsyncIterator[None]:
    """Post in the background, and what is left at the end.

    ``on_bug`` is called while the exception is handled that ended a round.
    """
    task = asyncio.create_task(_keep_posting(ledger, log, on_bug))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        ledger.post(log)


async def _keep_posting(ledger: Ledger, log: PostingLog, on_bug: Callable[[], None]) -> None:
    rounds, every = 0, int(POST_SECONDS_WHEN_BACKED_UP / POST_SECONDS)
    while goes_on():
        await pause(POST_SECONDS)
        rounds += 1
        try:
            if rounds >= every or not log.is_backed_up:
                ledger.post(log)
                rounds = 0
        except Exception:  # noqa: BLE001  # the listener logs it
            on_bug()
