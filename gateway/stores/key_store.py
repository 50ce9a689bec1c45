"""Where clients' keys are kept in Redis, and as a file as they were last read there.

All keys are one hash, so that a cluster has them in one place and a change is there whole or not at
all: by the name of each key its entry, as JSON, and under REVISION how often it was changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import KEYS_KEY, KEYS_REVISION
from gateway.stores.servers import Servers
from gateway.stores.state_file import read_state, write_state
from gateway.stores.store import Store
from gateway.stores.store_url import StoreUrl

# What the hash is looked for by, in a cluster: no cascade has a colon in its name.
_PLACE = ":keys"
FOR_THIS_USER_ALONE = 0o600


@dataclass(frozen=True, slots=True)
class Mark:
    """What changes with the keys: the revision, None where there is no hash, and the fields."""

    revision: bytes | None
    fields: int


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Entries by the name of their key, and the revision that they are of."""

    revision: int
    entries: Mapping[str, bytes]


class KeyStore:
    """The hash in Redis.  It has connections of its own: what ships pairs may be slow."""

    def __init__(self, url: StoreUrl) -> None:
        self._store = Store(Servers(url), Deletions())

    async def mark(self) -> Mark:
        """Whether there is anything to read, without reading it.  Raises StoreFailed."""
        revision = await self._store.follow(_PLACE, "HGET", KEYS_KEY, KEYS_REVISION)
        fields = await self._store.follow(_PLACE, "HLEN", KEYS_KEY)
        return Mark(None if revision is None else bytes(revision), int(fields))

    async def read(self) -> KeptKeys | None:
        """All keys as of one moment; None where there is no hash.  Raises StoreFailed."""
        told = await self._store.follow(_PLACE, "HGETALL", KEYS_KEY)
        pairs = told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=True)
        fields = {bytes(name).decode(errors="replace"): bytes(value) for name, value in pairs}
        if not fields:
            return None
        revision = fields.pop(KEYS_REVISION, b"0")
        return KeptKeys(int(revision) if revision.isdigit() else 0, fields)

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()


class SavedKeys:
    """The same as a file of the state directory, which nobody else may read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"

    def read(self) -> KeptKeys | None:
        """What was last saved; None where that is nothing, or no use.  Raises OSError."""
        state = read_state(self.path)
        try:
            document = json.loads(state or b"null")
            entries = {str(name): str(text).encode() for name, text in document["entries"].items()}
            return KeptKeys(int(document["revision"]), entries)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def write(self, kept: KeptKeys) -> None:
        """Save them.  Raises OSError."""
        entries = {name: text.decode(errors="replace") for name, text in kept.entries.items()}
        document = json.dumps({"revision": kept.revision, "entries": entries})
        write_state(self.path, document.encode(), mode=FOR_THIS_USER_ALONE)
