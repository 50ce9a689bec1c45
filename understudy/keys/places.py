"""Where keys are written down: the keys file, or Redis."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

import redis
from cyclopts import Parameter
from redis.exceptions import OutOfMemoryError

from gateway.config_file import ConfigError
from gateway.key_entries import KeyEntry, entries_in, entry_in
from gateway.stores.redis_keys import KEYS_KEY, KEYS_REVISION
from understudy.connecting import connect
from understudy.keys.editing import NotEditable, with_entry, without_entry
from understudy.telling import CommandError
from understudy.writing import rewrite_whole


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Where:
    """Where keys are written down.

    Parameters
    ----------
    keys_file
        The gateways' keys file.
    keys_in_redis
        They are in Redis, and not in the file.
    redis_url
        The gateways' Redis.
    """

    keys_file: Annotated[Path | None, Parameter(env_var="UNDERSTUDY_KEYS_FILE")] = None
    keys_in_redis: Annotated[
        bool, Parameter(env_var="UNDERSTUDY_KEYS_IN_REDIS", negative="--keys-not-in-redis")
    ] = False
    redis_url: Annotated[str | None, Parameter(env_var="UNDERSTUDY_REDIS_URL")] = None


class Place(Protocol):
    """Keys that are written down somewhere; ``name`` is for people."""

    source: str
    name: str

    def entries(self) -> Sequence[KeyEntry]:
        """All that can be read.  Raises CommandError."""

    def add(self, entry: KeyEntry) -> None:
        """Raises CommandError where there is one of its name."""

    def remove(self, name: str) -> None:
        """Raises CommandError where there is none of that name."""


@contextmanager
def opened(where: Where) -> Iterator[Place]:
    """The place that is meant.  Raises CommandError."""
    if not where.keys_in_redis:
        if where.keys_file is None:
            raise CommandError(
                "say where the keys are: --keys-file FILE (UNDERSTUDY_KEYS_FILE), or "
                "--keys-in-redis with --redis-url"
            )
        yield KeysFile(where.keys_file)
        return
    if where.redis_url is None:
        raise CommandError("--keys-in-redis needs --redis-url (UNDERSTUDY_REDIS_URL)")
    client = connect(where.redis_url)
    try:
        yield KeysHash(client)
    finally:
        client.close()


class KeysFile:
    """The keys file.  What people wrote there stays, comments too."""

    source = "file"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def entries(self) -> Sequence[KeyEntry]:
        """All of them; none without a file.  Raises CommandError."""
        return self._parsed(self._content())

    def add(self, entry: KeyEntry) -> None:
        """Write it behind the others, in a file that is made where there is none."""
        with self._alone():
            content = self._content()
            before = self._parsed(content)
            if any(each.name == entry.name for each in before):
                raise CommandError(f"{self.name} has a key {entry.name!r} already: {_RENAME}")
            self._write(content, [*before, entry], lambda text: with_entry(text, entry))

    def remove(self, name: str) -> None:
        """Take it out."""
        with self._alone():
            content = self._content()
            before = self._parsed(content)
            after = [each for each in before if each.name != name]
            if len(after) == len(before):
                raise CommandError(f"{self.name} has no key {name!r}: {_LIST}")
            self._write(content, after, lambda text: without_entry(text, name))

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _parsed(self, content: bytes | None) -> Sequence[KeyEntry]:
        if content is None:
            return ()
        try:
            return entries_in(content, self._path)
        except ConfigError as error:
            raise CommandError(str(error)) from None

    def _write(self, content: bytes | None, wanted: Sequence[KeyEntry], edit: "_Edit") -> None:
        """Write it whole, where the result says what is wanted and nothing else."""
        text = (content or b"").decode()
        try:
            plain = text.replace("\r\n", "\n")
            edited = edit(plain)
            if plain != text:
                edited = edited.replace("\n", "\r\n")
            if list(entries_in(edited.encode(), self._path)) != list(wanted):
                raise NotEditable("the result would say something else")
        except (NotEditable, ConfigError) as error:
            why = error if isinstance(error, NotEditable) else "the result would not be valid"
            raise CommandError(
                f"{self.name} has a form that this command cannot edit ({why}): change it by hand"
            ) from None
        # What is named may be a link, which stays one.
        rewrite_whole(self._path.resolve(), edited.encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once would undo each other."""
        folder = os.open(self._path.resolve().parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


class _Edit(Protocol):
    def __call__(self, text: str, /) -> str: ...


class KeysHash:
    """The hash in Redis."""

    source = "redis"
    name = "Redis"

    def __init__(self, client: redis.Redis) -> None:
        # redis-py types replies for its synchronous and its asynchronous client at once.
        self._client = cast("Any", client)

    def entries(self) -> Sequence[KeyEntry]:
        """All of them.  Raises CommandError, naming the first that is none."""
        found = []
        fields = self._client.hgetall(KEYS_KEY)
        for field in sorted(fields.keys() - {KEYS_REVISION.encode()}):
            name = field.decode(errors="replace")
            try:
                found.append(entry_in(name, fields[field]))
            except ValueError as error:
                raise CommandError(
                    f"{KEYS_KEY} in Redis: {name}: {error}: no gateway takes this key: `understudy "
                    f"keys revoke {name}` removes it"
                ) from None
        return found

    def add(self, entry: KeyEntry) -> None:
        """Write it down, and that something changed."""
        document = json.dumps(entry.document())
        with self._client.pipeline(transaction=True) as steps:
            steps.hsetnx(KEYS_KEY, entry.name, document)
            steps.hincrby(KEYS_KEY, KEYS_REVISION, 1)
            is_added, _ = steps.execute()
        if not is_added:
            raise CommandError(f"Redis has a key {entry.name!r} already: {_RENAME}")

    def remove(self, name: str) -> None:
        """Take it out.  What is left when the last one goes says that nobody has a key."""
        if name == KEYS_REVISION or not self._client.hexists(KEYS_KEY, name):
            raise CommandError(f"Redis has no key {name!r}: {_LIST}")
        try:
            with self._client.pipeline(transaction=True) as steps:
                steps.hdel(KEYS_KEY, name)
                steps.hincrby(KEYS_KEY, KEYS_REVISION, 1)
                steps.execute()
        except OutOfMemoryError:
            # A full Redis counts no further and still lets go of things, and gateways count fields.
            self._client.hdel(KEYS_KEY, name)


_RENAME = "choose another name; --tenant may be the same"
_LIST = "`understudy keys list` shows them"
