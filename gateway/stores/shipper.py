"""Takes records from all directories that this process holds to the store, off the request path,
for as long as it takes.

At least once: what is not known to be there is shipped again; readers tell equal records by their
id, and Redis equal postings by their number.  A stream that the store refuses falls behind alone; a
store that is away is tried again, ever more slowly.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.ports import Clock, Fate, PairEvents, StreamKind
from gateway.stores.backoff import Backoff
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.deletions import Deletions, blank_matching
from gateway.stores.failures import Failure
from gateway.stores.folder import Folder, trouble_of
from gateway.stores.holdings import Holdings
from gateway.stores.journal import Journal
from gateway.stores.progress import Identity, Lane, Position, Stream
from gateway.stores.reading import Batch, Limits, Placed, read_batch
from gateway.stores.store import Added, Store, Taker

IDLE_SECONDS = 0.2
CONFIRM_SECONDS = 1.0
LOOK_SECONDS = 5.0
_CAREFUL = Limits(records=1)


@dataclass(frozen=True, slots=True)
class Chances:
    """Time and randomness: ``clock`` is steady, ``epoch`` counts from 1970, ``dice`` in [0, 1)."""

    clock: Clock
    epoch: Clock
    dice: Callable[[], float]


@dataclass(slots=True)
class _Waiting:
    """A stream that the store refused: when it is tried again."""

    backoff: Backoff
    until: float


class Shipper:
    """The background task of one process and one store."""

    def __init__(
        self,
        journal: Journal,
        holdings: Holdings,
        store: Store,
        events: PairEvents,
        chances: Chances,
    ) -> None:
        self._journal = journal
        self._holdings = holdings
        self._store = store
        self._events = events
        self._chances = chances
        self._backoff = Backoff(chances.dice)
        self._waiting: dict[Stream, _Waiting] = {}
        self._last_confirmed = 0.0
        self._last_look: float | None = None
        self._is_unconfirmed = False
        # In a cluster one server may say so and another not.
        self._durable: dict[Identity, bool] = {}
        # Directories that could not be read, and those in which deletions were looked for.
        self._troubled: dict[Path, _Waiting] = {}
        self._searched: set[Path] = set()
        self._to_blank: set[str] = set()

    async def run(self) -> None:
        """Ship until cancelled."""
        while goes_on():
            await pause(await self.ship_round())

    async def flush(self, seconds: float) -> None:
        """Ship what is left, for at most ``seconds``; what remains is in the journal."""
        self._waiting.clear()
        try:
            async with asyncio.timeout(seconds):
                while goes_on() and not await self.ship_round():
                    pass
        except TimeoutError:
            pass

    async def ship_round(self) -> float:
        """One batch of every lane that is due; the seconds to wait before the next round."""
        is_moving = False
        for folder in list(self._holdings.folders):
            if self._is_resting(folder):
                continue
            try:
                outcome = await self._ship_folder(folder)
                self._troubled.pop(folder.path, None)
            except OSError as error:  # the journal's: the store's are values
                self._rest(folder, error)
                continue
            if isinstance(outcome, Failure):
                self._events.store_failed(outcome.kind, outcome.trouble)
                return self._backoff.next_seconds()
            is_moving = is_moving or outcome
        await self._look_when_due(is_idle=not is_moving)
        return 0.0 if is_moving else IDLE_SECONDS

    async def _ship_folder(self, folder: Folder) -> bool | Failure:
        """One batch of each lane of a directory.  Raises OSError where that cannot be read."""
        if folder.path not in self._searched:
            self._searched.add(folder.path)
            self._to_blank |= self._store.deletions.cascades
        await self._forget_deleted()
        is_moving = False
        for lane in self._due(folder):
            outcome = await self._ship(folder, lane)
            if isinstance(outcome, Failure):
                return outcome
            is_moving = is_moving or outcome
        return is_moving

    def _is_resting(self, folder: Folder) -> bool:
        troubled = self._troubled.get(folder.path)
        return troubled is not None and troubled.until > self._chances.clock()

    def _rest(self, folder: Folder, error: OSError) -> None:
        """Leave a directory that cannot be read alone for a while; the others go on."""
        troubled = _Waiting(Backoff(self._chances.dice), 0.0)
        troubled = self._troubled.setdefault(folder.path, troubled)
        troubled.until = self._chances.clock() + troubled.backoff.next_seconds()
        self._events.store_failed(type(error).__name__, trouble_of(error, folder.path))

    def _due(self, folder: Folder) -> Iterator[Lane]:
        """What can be shipped now, without the streams that wait for another try."""
        now = self._chances.clock()
        *behind, _ = folder.progress.lanes()
        for lane in behind:
            streams = frozenset(each for each in lane.streams if self._is_due(each, now))
            if streams:
                yield Lane(lane.start, streams, True)
        # Looked at last and anew: whoever has caught up by now is one of them.
        yield folder.progress.lanes()[-1]

    def _is_due(self, stream: Stream, now: float) -> bool:
        waiting = self._waiting.get(stream)
        return waiting is None or waiting.until <= now

    async def _ship(self, folder: Folder, lane: Lane) -> bool | Failure:
        """Ship the next batch of a lane; whether it has moved, or why the store takes nothing."""
        is_careful = bool(self._backoff.failures) or any(
            stream in self._waiting for stream in lane.streams if lane.is_listed
        )
        limits = _CAREFUL if is_careful else Limits()
        stretch = folder.stretch(lane)
        if lane.start >= stretch.until:
            return False
        batch = await asyncio.to_thread(read_batch, stretch, lane.has, limits)
        if folder.note_damage(batch):
            if folder is self._holdings.own:
                self._journal.rotate()
            return True
        records = await self._without_deleted(folder, batch.records)
        if records:
            now = self._chances.clock()
            is_confirming = now >= self._last_confirmed + CONFIRM_SECONDS
            added = await self._store.exchange(records, is_durable_wanted=is_confirming)
            if is_confirming:
                self._last_confirmed = now
            self._is_unconfirmed = not is_confirming
            end = self._note(folder, lane, batch, records, added)
            self._to_blank |= added.newly_deleted
            await self._forget_deleted()
            if added.away is not None:
                return added.away
        else:
            end = batch.end
            folder.progress.advance(lane, end, {})
        folder.note_shipped(self._chances.epoch())
        return end > lane.start

    def _note(
        self, folder: Folder, lane: Lane, batch: Batch, records: Sequence[Placed], added: Added
    ) -> Position:
        """Keep what became of a batch; gives where its lane is now."""
        progress, first_failed = folder.progress, _first_failed(records, added)
        end = batch.end
        if added.away is not None:  # go on there; what was added before it is through
            end = min(
                (at for stream, at in first_failed.items() if stream not in added.failures),
                default=lane.start,
            )
        else:
            self._backoff.failures = 0
        refused = {
            stream: at
            for stream, at in first_failed.items()
            if stream in added.failures and at < end
        }
        progress.advance(lane, end, refused)
        for placed, entry in zip(records, added.entries, strict=True):
            if entry is None:
                continue
            if placed.frame.kind is StreamKind.LEDGER:
                self._events.posting_shipped()
            elif placed.frame.kind is StreamKind.STORED:
                self._events.completions_became(placed.frame.cascade, Fate.SHIPPED)
            else:
                self._events.pair_shipped(placed.frame.cascade)
        for stream in {placed.stream for placed in records} - first_failed.keys():
            self._waiting.pop(stream, None)
        for stream, failure in added.failures.items():
            self._postpone(stream, failure)
        self._note_takers(folder, records, added)
        return end

    def _note_takers(self, folder: Folder, records: Sequence[Placed], added: Added) -> None:
        """Keep who has which streams now, and what that one may not have on its disk."""
        first: dict[Stream, int] = {}
        for placed, entry in zip(records, added.entries, strict=True):
            if entry is not None:
                first.setdefault(placed.stream, placed.segment)
        for taker in added.takers:
            for stream, segment in first.items():
                if stream.cascade in taker.cascades:
                    folder.progress.wrote(stream, taker.identity, segment)
            self._note_durable(taker)

    def _note_durable(self, taker: Taker) -> None:
        """What a server has on its disk it has of all directories."""
        if taker.is_durable is not None:
            self._durable[taker.identity] = taker.is_durable
            self._tell_durable()
        if taker.is_final:
            for folder in self._holdings.folders:
                folder.progress.confirm(taker.identity)

    def _tell_durable(self) -> None:
        if self._durable:
            self._events.store_changed(is_durable=all(self._durable.values()))

    def _postpone(self, stream: Stream, failure: Failure) -> None:
        waiting = self._waiting.setdefault(stream, _Waiting(Backoff(self._chances.dice), 0.0))
        waiting.until = self._chances.clock() + waiting.backoff.next_seconds()
        self._events.store_failed(failure.kind, failure.trouble, stream.cascade, stream.kind)

    async def _look_when_due(self, *, is_idle: bool) -> None:
        """Once all is shipped, and now and then, ask whether that is on disk, who has the streams,
        and what is to be deleted.

        A server that lost what was kept here for it gets it again.
        """
        now = self._chances.clock()
        is_due = self._last_look is None or now >= self._last_look + LOOK_SECONDS
        if not is_due and not (is_idle and self._is_unconfirmed):
            return
        self._last_look = now
        self._is_unconfirmed = False
        cascades = set(self._store.cascades)
        for folder in self._holdings.folders:
            cascades |= {stream.cascade for stream in folder.progress.identities}
        is_doubtful = any(folder.progress.doubtful for folder in self._holdings.folders)
        added = await self._store.exchange((), cascades, is_durable_wanted=is_doubtful)
        for taker in added.takers:
            for folder in self._holdings.folders:
                folder.progress.met(taker.identity, taker.cascades)
            self._note_durable(taker)
        if added.takers:  # all servers, for all cascades were asked of
            is_evicting = any(taker.is_evicting for taker in added.takers)
            self._events.store_seen(is_evicting=is_evicting)
            there = {taker.identity for taker in added.takers}
            self._durable = {one: told for one, told in self._durable.items() if one in there}
            self._tell_durable()
        self._to_blank |= added.newly_deleted
        await self._forget_deleted()

    async def _without_deleted(self, folder: Folder, records: Sequence[Placed]) -> Sequence[Placed]:
        """Those that nobody asked to be deleted; the others are blanked where they stand."""
        deletions = self._store.deletions
        left = []
        for placed in records:
            if not deletions.has(placed.frame.cascade, placed.frame.record):
                left.append(placed)
                continue
            await asyncio.to_thread(folder.blank, placed)
            self._events.pairs_deleted(placed.frame.cascade, 1)
        return left

    async def _forget_deleted(self) -> None:
        """Remove everywhere what is to be deleted and was not looked for yet."""
        deletions = self._store.deletions
        for cascade in list(self._to_blank):
            is_through = True
            for folder in list(self._holdings.folders):
                if self._is_resting(folder):
                    is_through = False
                    continue
                try:
                    count = await asyncio.to_thread(_blank, folder, cascade, deletions)
                except OSError as error:
                    self._rest(folder, error)
                    is_through = False
                else:
                    if count:
                        self._events.pairs_deleted(cascade, count)
            if is_through:
                self._to_blank.discard(cascade)
        for cascade, count in (await self._store.remove_condemned()).items():
            self._events.pairs_deleted(cascade, count)


def _first_failed(records: Sequence[Placed], added: Added) -> Mapping[Stream, Position]:
    """Where each stream's first record is that was not added."""
    first: dict[Stream, Position] = {}
    for placed, entry in zip(records, added.entries, strict=True):
        if entry is None:
            first.setdefault(placed.stream, placed.position)
    return first


def _blank(folder: Folder, cascade: str, deletions: Deletions) -> int:
    def is_to_go(placed: Placed) -> bool:
        is_of_it = placed.frame.cascade == cascade
        return is_of_it and deletions.has(cascade, placed.frame.record)

    return blank_matching(folder.everything(), is_to_go, folder.blank)
