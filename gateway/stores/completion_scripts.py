"""What has Redis keep a stored completion, change it and let it go, each as one command.

A completion stands under ``<tenant>/<id>``; without keys there is no tenant, and its name is empty.
Of two with one id the newer stays: a model server may use an id again.  A journal may bring any of
them again, so what a client has deleted is remembered.  Redis keeps its keys in step by scripts;
what a server refuses, it refuses at the first write, when nothing has changed yet.
"""

from collections.abc import Sequence

import msgspec
from redis.exceptions import ResponseError

from gateway.stores.redis_keys import DELETED_DAYS, completion_keys

SCHEMA_VERSION = 1
# What one completion takes of Redis beside its own bytes, in seven keys: measured, see
# docs/decisions/0026.
OVERHEAD_BYTES = 600
_DAY_MICROSECONDS = 86_400 * 10**6

Command = tuple[str | bytes | int, ...]

_PARTS = """
local heads, answers, requests = KEYS[1], KEYS[2], KEYS[3]
local order, times, deleted, totals = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local function place(member, time)
  local tenant, id = string.match(member, '^([^/]*)/(.*)$')
  return tenant .. '/' .. string.format('%016.0f', time) .. '/' .. id
end
local function size(member)
  return redis.call('HSTRLEN', heads, member) + redis.call('HSTRLEN', answers, member)
    + redis.call('HSTRLEN', requests, member) + tonumber(ARGV[1])
end
local function forget(member, time)
  redis.call('HINCRBY', totals, 'bytes', -size(member))
  redis.call('ZREM', order, place(member, time))
  redis.call('ZREM', times, member)
  redis.call('HDEL', heads, member)
  redis.call('HDEL', answers, member)
  redis.call('HDEL', requests, member)
end
"""
_ADD = (
    _PARTS
    + """
local member, time = ARGV[2], tonumber(ARGV[3])
local known = redis.call('ZSCORE', times, member)
local gone = redis.call('ZSCORE', deleted, member)
if (known and time <= tonumber(known)) or (gone and time <= tonumber(gone)) then return 'known' end
redis.call('HINCRBY', totals, 'bytes', 0)
if known then forget(member, tonumber(known)) end
redis.call('ZADD', times, ARGV[3], member)
redis.call('ZADD', order, 0, place(member, time))
redis.call('HSET', heads, member, ARGV[4])
redis.call('HSET', answers, member, ARGV[5])
redis.call('HSET', requests, member, ARGV[6])
redis.call('HINCRBY', totals, 'bytes', size(member))
return 'stored'
"""
)
_REMOVE = (
    _PARTS
    + """
local count, most = 0, tonumber(ARGV[4])
for number = 5, #ARGV do
  if most and tonumber(redis.call('HGET', totals, 'bytes') or '0') <= most then break end
  local member = ARGV[number]
  local time = redis.call('ZSCORE', times, member)
  if time then
    forget(member, tonumber(time))
    if ARGV[2] == 'client' then redis.call('ZADD', deleted, time, member) end
    count = count + 1
  end
end
redis.call('ZREMRANGEBYSCORE', deleted, '-inf', ARGV[3])
return count
"""
)
_REPLACE = (
    _PARTS
    + """
local member = ARGV[2]
if redis.call('HGET', heads, member) ~= ARGV[3] then return 0 end
redis.call('HINCRBY', totals, 'bytes', #ARGV[4] - #ARGV[3])
redis.call('HSET', heads, member, ARGV[4])
return 1
"""
)


class Record(msgspec.Struct):
    """One completion on its way to Redis.

    ``head`` is what is said of it; ``answer`` and ``request`` are an object of JSON each, or a text
    where they are sealed.  ``tenant`` and ``request_id`` are for deletions; None is no tenant.
    """

    schema_version: int
    time: float
    tenant: str | None
    request_id: str
    id: str
    head: msgspec.Raw
    answer: msgspec.Raw
    request: msgspec.Raw


class _Named(msgspec.Struct):
    id: str
    tenant: str | None = None


_record = msgspec.json.Decoder(Record)
_named = msgspec.json.Decoder(_Named)


def member_of(tenant: str | None, completion_id: str) -> str:
    """How one tenant's completion is called in Redis; no name of a tenant has a slash."""
    return f"{tenant or ''}/{completion_id}"


def member_in(record: bytes) -> bytes:
    """The same, of a record that Redis has taken."""
    named = _named.decode(record)
    return member_of(named.tenant, named.id).encode()


def microseconds(seconds: float) -> int:
    """A time as Redis sorts by it; below 2**53, so that a score has it exactly."""
    return round(seconds * 1e6)


def adding_of(cascade: str, data: bytes) -> Command | ResponseError:
    """What has Redis keep a record; an error, like one of the server, where this is none.

    It waits in the journal then, for a gateway that knows what it is.
    """
    try:
        record = _record.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return ResponseError("UNREADABLE completion")
    if record.schema_version != SCHEMA_VERSION:
        return ResponseError("UNREADABLE completion")
    parts = (record.head, record.answer, record.request)
    member = member_of(record.tenant, record.id)
    return _eval(_ADD, cascade, member, microseconds(record.time), *map(bytes, parts))


def removal_of(
    cascade: str,
    members: Sequence[str | bytes],
    *,
    is_by_client: bool = False,
    now: float = 0.0,
    most_bytes: int | None = None,
) -> Command:
    """What has Redis let them go; the reply is how many went.

    ``is_by_client``: a journal must not bring them back.  ``now`` counts seconds from 1970: what
    was deleted long before is forgotten.  With ``most_bytes`` no more go than have to, so that
    all of the cascade take no more than that.
    """
    forgotten = microseconds(now) - DELETED_DAYS * _DAY_MICROSECONDS
    whose, most = "client" if is_by_client else "", "" if most_bytes is None else most_bytes
    return _eval(_REMOVE, cascade, whose, forgotten, most, *members)


def replacement_of(cascade: str, member: str, before: bytes, after: bytes) -> Command:
    """What has Redis change a head that is still ``before``; the reply is 0 where it is not."""
    return _eval(_REPLACE, cascade, member, before, after)


def _eval(script: str, cascade: str, *arguments: str | bytes | int) -> Command:
    keys = completion_keys(cascade)
    return "EVAL", script, len(keys), *keys, OVERHEAD_BYTES, *arguments
