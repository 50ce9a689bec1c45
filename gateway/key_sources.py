"""Where keys come from while the gateway runs: the keys file and Redis, each looked at again and
again.  What cannot be read changes nothing: the keys that are in force stay.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.config_file import ConfigError, read_file
from gateway.key_entries import NAMED_BY, entries_in, entry_in, owners_of
from gateway.keys import Keys, Tenant
from gateway.ports import Clock
from gateway.stores.key_store import KeptKeys, KeyStore, Mark, SavedKeys
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import StoreUrl
from gateway.telemetry.key_news import KeyNews
from gateway.telemetry.observer import Observer

# The store's mark tells of every change but one that somebody made by hand, of an entry that stays.
REREAD_SECONDS = 60.0
NOBODY = KeptKeys(0, {})


class KeySource(Protocol):
    """A place with keys.

    ``tenants`` are those in force, by the hash of their key; ``is_known``: they were read there
    since the gateway started.
    """

    tenants: Mapping[bytes, Tenant]
    is_known: bool

    async def look(self) -> None:
        """Read it where it has changed.  Never raises for what is wrong with it."""

    async def close(self) -> None:
        """Nothing more is wanted of it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where keys are: a file and Redis, None where they are not there; and the state directory."""

    file: Path | None
    redis: StoreUrl | None
    state_dir: Path


def sources_at(places: Places, keys: Keys, observer: Observer, epoch: Clock) -> Sequence[KeySource]:
    """What reads them; ``keys`` are those that the gateway starts with."""
    sources: list[KeySource] = []
    if places.file is not None:
        sources.append(FileKeys(places.file, keys.tenants, observer, epoch))
    if places.redis is not None:
        saved = SavedKeys(places.state_dir)
        sources.append(StoredKeys(KeyStore(places.redis), saved, observer, epoch))
    return sources


class FileKeys:
    """The keys file.

    It is read each time, not asked when it was changed: a mounted Secret changes where a link
    points, and two writes within a file system's tick have the same time.  It is read as YAML
    only where it holds something else than before.
    """

    def __init__(
        self, path: Path, tenants: Mapping[bytes, Tenant], observer: Observer, epoch: Clock
    ) -> None:
        """``tenants`` are those that the gateway started with."""
        self.tenants = tenants
        self.is_known = True
        self._path = path
        self._epoch = epoch
        self._read_at = epoch()
        self._content: bytes | None = None
        self._why: str | None = None
        self._news = KeyNews(observer, "file", lambda: max(0.0, epoch() - self._read_at))
        self._news.taken(_names(tenants), ())

    async def look(self) -> None:
        """Read it where it has changed."""
        try:
            found = await asyncio.to_thread(self._read)
        except ConfigError as error:
            self._news.refused(str(error))
            return
        self._read_at = self._epoch()
        self._news.well()
        if found is not None and found != self.tenants:
            before, self.tenants = self.tenants, found
            self._news.taken(_names(found), _names(before))

    def _read(self) -> Mapping[bytes, Tenant] | None:
        """What it holds; None where that is what it held before.  Raises ConfigError."""
        content = read_file(self._path, NAMED_BY)
        if content == self._content:
            if self._why is not None:
                raise ConfigError(self._why)
            return None
        self._content, self._why = content, None
        try:
            return owners_of(entries_in(content, self._path))
        except ConfigError as error:
            self._why = str(error)
            raise

    async def close(self) -> None:
        """Nothing is open."""


class StoredKeys:
    """The keys in Redis, and those that were last read there."""

    def __init__(self, store: KeyStore, saved: SavedKeys, observer: Observer, epoch: Clock) -> None:
        self.tenants: Mapping[bytes, Tenant] = {}
        self.is_known = False
        self._store = store
        self._saved = saved
        self._epoch = epoch
        self._read_at = self._all_read_at = epoch()
        self._mark: Mark | None = None
        self._kept: KeptKeys | None = None
        self._is_saved = True
        self._has_told_unsaved = False
        self._news = KeyNews(observer, "redis", lambda: max(0.0, epoch() - self._read_at))
        self._take_saved()

    async def look(self) -> None:
        """Read them where they have changed."""
        try:
            mark = await self._store.mark()
            if mark != self._mark or self._epoch() - self._all_read_at >= REREAD_SECONDS:
                kept = await self._store.read()
                self._mark, self._all_read_at = mark, self._epoch()
                if kept is None and self._kept not in (None, NOBODY):
                    # An emptied store says nothing: the last key that is revoked leaves a hash.
                    self._news.refused("Redis has no keys any more, and had some")
                    self._mark, self.is_known = None, True
                    return
                kept = kept or NOBODY
                if kept != self._kept:
                    self._take(kept, *await asyncio.to_thread(tenants_in, kept))
        except StoreFailed as failed:
            self._news.away(failed.failure.kind, failed.failure.trouble)
            return
        self._read_at, self.is_known = self._epoch(), True
        self._news.well()
        await self._save()

    def _take_saved(self) -> None:
        """Have those in force that were last read, until the store can be asked."""
        try:
            kept = self._saved.read()
        except OSError as error:
            self._news.not_saved(str(self._saved.path), error)
            return
        if kept is not None:
            self._take(kept, *tenants_in(kept))

    def _take(
        self, kept: KeptKeys, tenants: Mapping[bytes, Tenant], left_out: Mapping[str, str]
    ) -> None:
        if self._kept is not None and kept.revision < self._kept.revision:
            self._news.older(kept.revision, self._kept.revision)
        for name, why in left_out.items():
            self._news.left_out(name, why)
        self._news.taken(_names(tenants), _names(self.tenants))
        self.tenants, self._kept, self._is_saved = tenants, kept, kept is NOBODY

    async def _save(self) -> None:
        """Write down what is in force, and go on trying."""
        if self._is_saved or self._kept is None:
            return
        try:
            await asyncio.to_thread(self._saved.write, self._kept)
        except OSError as error:
            if not self._has_told_unsaved:
                self._has_told_unsaved = True
                self._news.not_saved(str(self._saved.path), error)
            return
        self._is_saved, self._has_told_unsaved = True, False

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()


def tenants_in(kept: KeptKeys) -> tuple[Mapping[bytes, Tenant], Mapping[str, str]]:
    """Whose the keys are, by hash; and by name why an entry is none."""
    found, left_out = [], {}
    for name, text in kept.entries.items():
        try:
            found.append(entry_in(name, text))
        except ValueError as error:
            left_out[name] = str(error)
    return owners_of(found), left_out


def _names(tenants: Mapping[bytes, Tenant]) -> set[str]:
    return {tenant.key for tenant in tenants.values()}
