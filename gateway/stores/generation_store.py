"""Where the generations of students are read, and where this replica says how it stands: Redis, and
beside it the last state as a file, for a start while Redis is away.
"""

from pathlib import Path

from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import generations_key, replicas_key
from gateway.stores.servers import Servers
from gateway.stores.state_file import read_state, write_state
from gateway.stores.store import Store
from gateway.stores.store_url import StoreUrl


class GenerationStore:
    """The registry in Redis.  It has connections of its own: what ships pairs may be slow."""

    def __init__(self, url: StoreUrl) -> None:
        self._store = Store(Servers(url), Deletions())

    async def read(self, cascade: str) -> bytes | None:
        """The state of a cascade, as somebody wrote it; None without one.  Raises StoreFailed."""
        found = await self._store.follow(cascade, "GET", generations_key(cascade))
        return None if found is None else bytes(found)

    async def tell(self, cascade: str, replica: str, heartbeat: bytes) -> None:
        """Say how this replica stands.  Raises StoreFailed."""
        await self._store.follow(cascade, "HSET", replicas_key(cascade), replica, heartbeat)

    async def forget(self, cascade: str, replica: str) -> None:
        """Say nothing more of this replica.  Raises StoreFailed."""
        await self._store.follow(cascade, "HDEL", replicas_key(cascade), replica)

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()


class SavedGenerations:
    """The states as files of the state directory, a cascade each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, cascade: str) -> Path:
        """Where a cascade's state is."""
        return self._folder / f"generations-{cascade}.json"

    def later_path_of(self, cascade: str) -> Path:
        """Where the state is that was in force before an older one took its place."""
        return self._folder / f"later-generations-{cascade}.json"

    def read(self, cascade: str) -> bytes | None:
        """The state that was last saved; None without one.  Raises OSError."""
        return read_state(self.path_of(cascade))

    def write(self, cascade: str, state: bytes) -> None:
        """Save a state, whole or not at all; several processes may.  Raises OSError."""
        write_state(self.path_of(cascade), state)

    def keep_later(self, cascade: str, state: bytes) -> None:
        """Save a state beside the older one that took its place.  Raises OSError."""
        write_state(self.later_path_of(cascade), state)
