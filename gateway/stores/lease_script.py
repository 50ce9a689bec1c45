"""The books of keys' limits in Redis, as one script, and what it says.

Windows are those of the server's clock.  One hash holds all limits of a key, so that a request that
falls under several is one command.  ``routing.lease.Books`` says the same in Python; a test holds
the two together.
"""

from collections.abc import Mapping
from typing import Any

from gateway.stores.redis_keys import LIMITS_SECONDS, limits_key
from routing.lease import MOST_PART, WINDOW_SECONDS, Ask, Drawn
from routing.vocabulary import Limit

# Integers of a script are doubles: beyond 2**53, 9,007 USD in pico-dollars, sums round to some of
# these.  A reply holds less than 2**63 of anything.
MOST = 9 * 10**18
_FIELDS = 7

# What the server refuses (memory, a user without the right, a key of another type) it refuses
# before anything has changed.
SCRIPT = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replies = {{}}
for place = 1, #ARGV, {_FIELDS} do
  local name = ARGV[place]
  local length, limit = tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2])
  local window, owed = tonumber(ARGV[place + 3]), tonumber(ARGV[place + 4])
  local needed = tonumber(ARGV[place + 5])
  local wanted = tonumber(ARGV[place + 6])
  local current, used = math.floor(now / length), 0
  local told = redis.call('HGET', KEYS[1], name) or ''
  local last, count = string.match(told, '^(%d+) (%d+)$')
  if last then
    if current == tonumber(last) - 1 then current = current + 1 end
    if current == tonumber(last) then used = tonumber(count) end
  end
  if owed > 0 or current == window then used = math.max(0, used + owed) end
  local free = math.max(0, limit - used)
  local slice = math.min(wanted, math.floor(free / {MOST_PART}))
  local granted = math.min(free, math.max(needed, slice))
  redis.call('HSET', KEYS[1], name, string.format('%.0f %.0f', current, used + granted))
  replies[#replies + 1] = {{current, granted, free - granted, (current + 1) * length - now}}
end
redis.call('EXPIRE', KEYS[1], {LIMITS_SECONDS})
return replies
"""


def command_of(key: str, asks: Mapping[Limit, Ask]) -> tuple[str | int, ...]:
    """What has Redis book asks of one key's limits, all or none."""
    parts: list[str | int] = []
    for limit, ask in asks.items():
        amounts = (min(each, MOST) for each in (ask.owed, ask.needed, ask.wanted))
        milliseconds = WINDOW_SECONDS[limit] * 1000
        parts += [limit.value, milliseconds, min(ask.limit, MOST), ask.window, *amounts]
    return "EVAL", SCRIPT, 1, limits_key(key), *parts


def drawn_of(asks: Mapping[Limit, Ask], reply: Any) -> Mapping[Limit, Drawn]:
    """What the script said.  Raises ValueError and TypeError where that is something else."""
    found = {}
    for limit, told in zip(asks, reply, strict=True):
        window, granted, free, milliseconds = (int(number) for number in told)
        found[limit] = Drawn(window, granted, free, milliseconds / 1000)
    return found
