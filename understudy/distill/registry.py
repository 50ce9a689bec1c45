"""A cascade's generations in Redis: read, and written only on top of what was read."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, cast

import msgspec
import redis
from cyclopts import Parameter

from distill.generations import revision_of
from distill.replicas import alive, orphaned
from gateway.stores.redis_keys import (
    adapters_key,
    generations_key,
    registry_key,
    replicas_key,
    watch_key,
)
from routing.errors import PolicyError
from routing.rollout import Generations, Step
from routing.rollout_file import generations_document, generations_from_document
from routing.tally import Heartbeat, heartbeat_from_document
from understudy.connecting import connect
from understudy.telling import CommandError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEY = re.compile(rf"understudy:\{{({NAME.pattern})\}}:(?:generations|replicas)")

# What reading a document of somebody else's may come to; nested too deep, it is a RecursionError.
_NO_USE = (ValueError, RecursionError, PolicyError)

# Sets the state where the one there has the revision that it was made from.  A step goes into the
# stream too, in the same breath.  What is no state has no revision that anybody knows.
_WRITE = """
local there = redis.call('GET', KEYS[1])
local revision = 0
if there then
  local read, state = pcall(cjson.decode, there)
  revision = read and type(state) == 'table' and state['revision'] or -1
end
if revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] == 'step' then redis.call('XADD', KEYS[2], '*', 'state', ARGV[2]) end
return 1
"""


class LostRace(Exception):
    """Somebody else has changed the state meanwhile; nothing was written."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Place:
    """Whose generations, and where.

    Parameters
    ----------
    redis_url
        The Redis of the gateways.
    cascade
        Which cascade's; needed where there are several.
    """

    redis_url: Annotated[str | None, Parameter(env_var="UNDERSTUDY_REDIS_URL")] = None
    cascade: str | None = None


class Adapter(msgspec.Struct, frozen=True):
    """Where a version's adapter was loaded: the servers, and the path as they have it."""

    base_urls: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class Registry:
    """One cascade's generations in one Redis.  Everything may raise RedisError."""

    client: redis.Redis
    cascade: str

    def state(self) -> Generations | None:
        """The state, None where there never was one.  Raises CommandError where it is none."""
        found = cast("bytes | None", self.client.get(generations_key(self.cascade)))
        if found is None:
            return None
        try:
            return generations_from_document(json.loads(found))
        except _NO_USE as error:
            raise CommandError(
                f"the state in Redis, {generations_key(self.cascade)}, cannot be read: {error}"
            ) from None

    def basis(self, now: float) -> Generations | None:
        """The state that a step can be made from.  Raises CommandError where it is lost."""
        state = self.state()
        if (revision := orphaned(state, alive(self.heartbeats(), now))) is not None:
            raise CommandError(self.told_lost(revision))
        return state

    def told_lost(self, revision: int) -> str:
        """What has happened where gateways have a state in force that is gone, and the way back."""
        key = generations_key(self.cascade)
        return (
            f"Redis has lost the state, {key}: gateways go on with revision {revision}, and one "
            "that starts without a saved state begins with the configuration's student. Put it "
            f"back: redis-cli -x SET '{key}' < STATE_DIR/generations-{self.cascade}.json, with "
            "the UNDERSTUDY_STATE_DIR of a gateway"
        )

    def write_step(self, before: Generations | None, after: Generations) -> None:
        """Put a step's state in the place of the one it was made from.

        Raises LostRace, and CommandError for one that nobody could read: nothing is written then.
        """
        self._write(revision_of(before), after, "step")

    def renew(self, state: Generations) -> None:
        """Write a state of the same revision.  Raises LostRace."""
        self._write(state.revision, state, "renewal")

    def _write(self, expected: int, state: Generations, kind: str) -> None:
        document = json.dumps(generations_document(state), ensure_ascii=False)
        try:
            generations_from_document(json.loads(document))
        except _NO_USE as error:
            raise CommandError(f"no gateway could read that {kind}: {error}") from None
        keys = [generations_key(self.cascade), registry_key(self.cascade)]
        done = self.client.eval(_WRITE, len(keys), *keys, str(expected), document, kind)
        if not done:
            raise LostRace("somebody else has changed the state of this cascade meanwhile")

    def heartbeats(self) -> dict[str, Heartbeat]:
        """What each replica last said, those of another release left out."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(replicas_key(self.cascade)))
        told = {}
        for name, document in found.items():
            try:
                told[name.decode(errors="replace")] = heartbeat_from_document(json.loads(document))
            except _NO_USE:
                continue
        return told

    def forget(self, replicas: list[str]) -> None:
        """Take replicas out that are long gone."""
        if replicas:
            self.client.hdel(replicas_key(self.cascade), *replicas)

    def steps(self, most: int) -> list[Step]:
        """The last steps, the newest first."""
        page = cast("Any", self.client.xrevrange(registry_key(self.cascade), count=most))
        found = []
        for _, fields in page:
            try:
                found.append(generations_from_document(json.loads(fields[b"state"])).last)
            except (KeyError, *_NO_USE):
                continue
        return found

    def adapter(self, version: str) -> Adapter | None:
        """Where a version's adapter was loaded from, None where nobody here did."""
        found = cast("bytes | None", self.client.hget(adapters_key(self.cascade), version))
        try:
            return None if found is None else msgspec.json.decode(found, type=Adapter)
        except msgspec.DecodeError:
            return None

    def keep_adapter(self, version: str, adapter: Adapter) -> None:
        """Remember where a version's adapter is loaded."""
        told = msgspec.json.encode(adapter).decode()
        self.client.hset(adapters_key(self.cascade), version, told)

    def drop_adapter(self, version: str) -> None:
        """Forget it: it is loaded no more."""
        self.client.hdel(adapters_key(self.cascade), version)

    def report(self, told: dict[str, Any]) -> None:
        """Say what is seen of a candidate, in place of what was said before."""
        self.client.set(watch_key(self.cascade), json.dumps(told, ensure_ascii=False))

    def reported(self) -> dict[str, Any] | None:
        """What was last said of a candidate, None where nothing was."""
        found = cast("bytes | None", self.client.get(watch_key(self.cascade)))
        try:
            told = None if found is None else json.loads(found)
        except _NO_USE:
            return None
        return told if isinstance(told, dict) else None


@contextmanager
def opened(place: Place) -> Iterator[Registry]:
    """The registry of the chosen cascade.  Raises CommandError, and RedisError without a Redis."""
    if not place.redis_url:
        raise CommandError("no Redis is named: set UNDERSTUDY_REDIS_URL or say --redis-url")
    client = connect(place.redis_url)
    try:
        yield Registry(client, _chosen(client, place.cascade))
    finally:
        client.close()


def _chosen(client: redis.Redis, name: str | None) -> str:
    if name is not None:
        if not NAME.fullmatch(name):
            raise CommandError(f"--cascade: {name!r} cannot be a cascade's name")
        return name
    matches = (
        _KEY.fullmatch(key.decode(errors="replace"))
        for key in client.scan_iter("understudy:{*}:*", count=1000)
    )
    found = sorted({match[1] for match in matches if match})
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError("no gateway has said anything to this Redis: is it the gateways'?")
    raise CommandError(f"there are several cascades, {', '.join(found)}: choose with --cascade")
