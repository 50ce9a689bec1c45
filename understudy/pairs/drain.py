"""Takes pairs out of a stream into parts, once for a consumer group: the first half of an export.

An entry is acknowledged when the part that holds it is on the disk, and not before.  So a killed
exporter loses nothing: what it had in hand is claimed by another, and may then stand in two parts.
Consolidation drops the second of two equal ids.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from redis.exceptions import ResponseError

from distill.deletions import Deletions
from distill.pairs import NoPair, read_pair, subject_of
from gateway.stores.redis_keys import EXPORT_GROUP
from understudy.pairs.parts import Buffer
from understudy.pairs.places import Place
from understudy.pairs.store import Entry, Log, entry_of
from understudy.pairs.tail import entries_in
from understudy.pairs.trimming import trim
from understudy.pairs.unreadable import keep_unreadable
from understudy.pairs.wishes import save_deletions

READ_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Course:
    """How a stream is drained.

    ``reclaim_seconds``: what another exporter has in hand for so long is taken over: it is dead.
    ``is_trimmed``: what every group has acknowledged goes from the stream.
    """

    group: str = EXPORT_GROUP
    reclaim_seconds: float = 300.0
    is_trimmed: bool = False


@dataclass(slots=True)
class Drained:
    """What an export came to, so far: ``taken`` are entries, ``pairs`` those that are in parts.

    ``elsewhere`` is what the group's other exporters have in hand.
    """

    taken: int = 0
    pairs: int = 0
    deleted: int = 0
    unreadable: int = 0
    reclaimed: int = 0
    trimmed: int = 0
    elsewhere: int = 0
    parts: list[str] = field(default_factory=list)


class Exporter:
    """One consumer of a group, with a name that no other has."""

    def __init__(self, log: Log, place: Place, course: Course) -> None:
        self._log = log
        self._place = place
        self._course = course
        self._key = log.key("pairs")
        self.name = secrets.token_hex(6)
        self.drained = Drained()
        self._buffer = Buffer()
        self._entries: list[str] = []
        self._reached = "0-0"
        self._unreadable: list[Entry] = []
        self._deletions = Deletions()
        self._last_deletion: str | None = None

    def run(self, progress: Callable[[Drained], None]) -> Drained:
        """Take out what is in the stream now.  Raises CommandError, RedisError and OSError."""
        self._join()
        self._learn_deletions()
        last = self._last_entry()
        self._reclaim(progress)
        while self._take(self._fresh(last), progress):
            pass
        self._write()
        self._reclaim(progress)  # what was too young for it at the beginning
        self._write()
        progress(self.drained)
        self._leave()
        return self.drained

    def _join(self) -> None:
        try:
            self._log.client.xgroup_create(self._key, self._course.group, id="0")
        except ResponseError:
            # Mostly it is there already.  A store that is full says OOM whether or not it is.
            if not self._is_there():
                raise

    def _is_there(self) -> bool:
        groups = cast("Any", self._log.client.xinfo_groups(self._key))
        return self._course.group.encode() in {group["name"] for group in groups}

    def _last_entry(self) -> str:
        """Where to stop: a busy stream has no end."""
        found = cast("Any", self._log.client.xinfo_stream(self._key))
        return str(found["last-generated-id"].decode())

    def _reclaim(self, progress: Callable[[Drained], None]) -> None:
        """Take over what exporters that are dead had in hand."""
        start = "0-0"
        while True:
            reply = cast(
                "Any",
                self._log.client.xautoclaim(
                    self._key,
                    self._course.group,
                    self.name,
                    min_idle_time=int(self._course.reclaim_seconds * 1000),
                    start_id=start,
                    count=READ_ENTRIES,
                ),
            )
            start = reply[0].decode()
            # Servers before Redis 7 hand out nothing in place of what was deleted meanwhile.
            found = [entry_of(each, fields) for each, fields in reply[1] if fields is not None]
            self.drained.reclaimed += len(found)
            self._take(found, progress)
            if start == "0-0":
                return

    def _fresh(self, last: str) -> Sequence[Entry]:
        """What nobody of the group has had yet, up to ``last``."""
        if _number(self._reached) >= _number(last):
            return []
        reply = self._log.client.xreadgroup(
            self._course.group, self.name, cast("Any", {self._key: ">"}), count=READ_ENTRIES
        )
        found = [entry_of(each, fields) for each, fields in entries_in(reply)]
        if found:
            self._reached = found[-1].id
        return found

    def _take(self, entries: Sequence[Entry], progress: Callable[[Drained], None]) -> bool:
        """Put entries into the part in hand, and write it when it is full."""
        for entry in entries:
            self._entries.append(entry.id)
            self.drained.taken += 1
            record = entry.pair or b""
            subject = subject_of(record)
            if subject and self._deletions.concern(
                subject.request_id, subject.tenant, subject.time
            ):
                self.drained.deleted += 1
                continue
            try:
                pair = read_pair(record)
            except NoPair:
                self._unreadable.append(entry)
                continue
            self._buffer.add(pair, entry.id, len(record))
            if self._buffer.is_full:
                self._write()
        progress(self.drained)
        return bool(entries)

    def _write(self) -> None:
        """Write what is in hand, and then acknowledge it."""
        if not self._entries:
            return
        self._learn_deletions()
        name = f"{self._entries[0]}-{self.name}"
        self._write_unreadable(name)
        self.drained.parts += self._buffer.write(self._place, self._log.cascade, name)
        self._log.client.xack(self._key, self._course.group, *self._entries)
        self.drained.pairs += self._buffer.rows
        if self._course.is_trimmed:
            self.drained.trimmed += trim(self._log.client, self._key)
        self._buffer, self._entries = Buffer(), []

    def _write_unreadable(self, name: str) -> None:
        """Keep what no reader understands beside the parts: it may be a newer version's."""
        if not self._unreadable:
            return
        keep_unreadable(self._place, self._log.cascade, name, self._unreadable)
        self.drained.unreadable += len(self._unreadable)
        self._unreadable = []

    def _learn_deletions(self) -> None:
        """Ask for wishes that came since, and keep all of them beside the parts."""
        before = self._last_deletion
        for each, deletion in self._log.deletions(before):
            self._deletions.add([deletion])
            self._last_deletion = each
        if self._last_deletion not in (None, before):
            save_deletions(self._place, self._log, str(self._last_deletion))

    def _leave(self) -> None:
        """Tell how much others have in hand; leave no name behind that has nothing in hand."""
        client, group = self._log.client, self._course.group
        waiting = cast("Any", client.xpending(self._key, group))
        mine = {each["name"].decode(): each["pending"] for each in waiting["consumers"]}
        self.drained.elsewhere = waiting["pending"]
        if not mine.get(self.name):
            client.xgroup_delconsumer(self._key, group, self.name)


def _number(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)
