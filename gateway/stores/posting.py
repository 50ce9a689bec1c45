"""A posting: what changed in one cascade's ledger within a second or so, as one record of the
journal; and the command that has Redis add it to the books, once, however often it is shipped.

A posting is numbered by its origin, the process that made it.  Redis keeps of each origin the
highest number and which ones below it are missing, in the same script that adds the amounts.  A
plain high-water mark would not do: a server that was replaced by an older copy of itself may see a
late posting before it gets again what it has lost.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

import msgspec
from redis.exceptions import ResponseError

from gateway.stores.redis_keys import LEDGER_DAYS, ORIGIN_DAYS, ledger_key, ledger_origin_key

SCHEMA_VERSION = 1
_DAY_SECONDS = 86_400

# What a server refuses (too little memory, a user without the right, a key of another type), it
# refuses at the first HINCRBY or at HSET, when nothing has changed yet.  A field that would pass
# 2**63 hands 10**18 on to the field above it, as 10**6 of its 10**12.
SCRIPT = """
local number, top = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'top') or '0')
local is_new, missing = number > top, {}
for range in string.gmatch(redis.call('HGET', KEYS[1], 'missing') or '', '%S+') do
  local first, last = string.match(range, '(%d+)-(%d+)')
  first, last = tonumber(first), tonumber(last)
  if number < first or last < number then
    missing[#missing + 1] = range
  else
    is_new = true
    if first < number then missing[#missing + 1] = first .. '-' .. number - 1 end
    if number < last then missing[#missing + 1] = number + 1 .. '-' .. last end
  end
end
if not is_new then return 'known' end
if top + 1 < number then missing[#missing + 1] = top + 1 .. '-' .. number - 1 end
redis.call('HINCRBY', KEYS[2], ARGV[4], 0)
redis.call('HSET', KEYS[1], 'top', math.max(top, number), 'missing', table.concat(missing, ' '))
local trouble = nil
for place = 4, #ARGV, 2 do
  local field, amount = ARGV[place], ARGV[place + 1]
  local reply = redis.pcall('HINCRBY', KEYS[2], field, amount)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'overflow') then
      local words, step, tenant = string.match(field, '^(.*)_e(%d+)(:[^:]*)$')
      if not words then words, tenant = string.match(field, '^(.*)(:[^:]*)$') end
      local above = words .. '_e' .. (step or 0) + 12 .. tenant
      redis.call('HINCRBY', KEYS[2], field, '-1000000000000000000')
      redis.call('HINCRBY', KEYS[2], field, amount)
      redis.call('HINCRBY', KEYS[2], above, '1000000')
    else
      trouble = reply
    end
  end
end
redis.call('EXPIREAT', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return trouble or 'applied'
"""


class Posting(msgspec.Struct):
    """``amounts`` are fields of the books, each below 10**12 and at least one; ``time`` is when it
    was written, in seconds since 1970.

    It names no tenant where records of pairs do, so that a deletion does not find it: the books
    are not rewritten.
    """

    schema_version: int
    time: float
    origin: str
    number: int
    day: str
    amounts: Mapping[str, int]


_posting = msgspec.json.Decoder(Posting)


def encode_posting(posting: Posting) -> bytes:
    """As JSON."""
    return msgspec.json.encode(posting)


def command_of(cascade: str, record: bytes) -> tuple[str | bytes | int, ...] | ResponseError:
    """What has Redis add a posting; an error, like one of the server, where this is none.

    It waits in the journal then, for a gateway that knows what it is.
    """
    try:
        posting = _posting.decode(record)
        end = _end_of(posting.day)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ResponseError("UNREADABLE posting")
    if posting.schema_version != SCHEMA_VERSION or not posting.amounts:
        return ResponseError("UNREADABLE posting")
    keys = ledger_origin_key(cascade, posting.origin), ledger_key(cascade, posting.day)
    amounts = [part for amount in posting.amounts.items() for part in amount]
    origin_seconds = ORIGIN_DAYS * _DAY_SECONDS
    return "EVAL", SCRIPT, len(keys), *keys, posting.number, end, origin_seconds, *amounts


def _end_of(day: str) -> int:
    """When the books of a day expire, in seconds since 1970.  Raises ValueError."""
    midnight = datetime.combine(date.fromisoformat(day), time(), UTC)
    return int((midnight + timedelta(days=1 + LEDGER_DAYS)).timestamp())
