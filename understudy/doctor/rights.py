"""The commands that a gateway sends to Redis, each with a try that changes nothing.

A server looks at a user's rights before it looks at anything else, so a command that must fail, or
has nothing to do, tells whether it is allowed.  ACL DRYRUN would tell too, but is for
administrators.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.stores.redis_keys import doctor_key


@dataclass(frozen=True, slots=True)
class Right:
    """``name`` is as in ACL SETUSER, without the sign.  ``needs`` says what fails without it.

    ``parts`` are the command; in place of KEY stands a key that does not exist.
    """

    name: str
    parts: Sequence[str | int]
    needs: str
    is_needed: bool = True

    def command(self, cascade: str) -> list[str | int]:
        """The try, for one cascade."""
        return [doctor_key(cascade) if part == KEY else part for part in self.parts]


KEY = "KEY"
_PAIRS, _LEDGER = "pairs stay in the journal", "the ledger waits in the journal, and fills it"
_GENERATIONS, _RETENTION = "no generation is taken up", "streams are not kept within their bounds"
_LIMITS = "limits of keys are not known, and UNDERSTUDY_STORE_DOWN holds"
_OBJECTIVES = "no objective is steered"
STORED = "completions that clients have stored wait in the journal, and fill it"
_COUNT, _LONGER = "nobody sees what no export has", "segments of the journal are kept for longer"

RIGHTS = (
    Right("xadd", ("XADD", KEY, "NOMKSTREAM", "*", "pair", ""), _PAIRS),
    Right("xrange", ("XRANGE", KEY, "-", "+", "COUNT", 1), _PAIRS),
    Right("xdel", ("XDEL", KEY, "0-1"), "what is to be deleted stays"),
    Right("eval", ("EVAL", "return 1", 1, KEY), f"{_LEDGER}; {_LIMITS}"),
    Right("hget", ("HGET", KEY, "top"), f"{_LEDGER}; {_LIMITS}"),
    Right("hset", ("HSET", KEY, "top", "1", "half"), f"{_LEDGER}; {_LIMITS}; {_GENERATIONS}"),
    Right("hincrby", ("HINCRBY", KEY, "top", "none"), _LEDGER),
    Right("expire", ("EXPIRE", KEY, 1), f"{_LEDGER}; {_LIMITS}"),
    Right("expireat", ("EXPIREAT", KEY, 1), _LEDGER),
    Right("get", ("GET", KEY), _GENERATIONS),
    Right("set", ("SET", KEY, "", "XX"), _OBJECTIVES),
    Right("pexpire", ("PEXPIRE", KEY, 1), _OBJECTIVES),
    Right(
        "del",
        ("DEL", KEY),
        "who steers an objective goes on for three seconds when it ends",
        is_needed=False,
    ),
    Right("hdel", ("HDEL", KEY, "top"), "replicas that are gone are not forgotten"),
    Right("xlen", ("XLEN", KEY), _COUNT),
    Right("zadd", ("ZADD", KEY, "XX", 1, "none"), STORED, is_needed=False),
    Right("zscore", ("ZSCORE", KEY, "none"), STORED, is_needed=False),
    Right("zrange", ("ZRANGE", KEY, 0, 0), STORED, is_needed=False),
    Right("zrem", ("ZREM", KEY, "none"), STORED, is_needed=False),
    Right("zremrangebyscore", ("ZREMRANGEBYSCORE", KEY, 1, 0), STORED, is_needed=False),
    Right("hstrlen", ("HSTRLEN", KEY, "none"), STORED, is_needed=False),
    Right("hmget", ("HMGET", KEY, "none"), STORED, is_needed=False),
    Right("xtrim", ("XTRIM", KEY, "MAXLEN", 0), _RETENTION, is_needed=False),
    Right("memory|usage", ("MEMORY", "USAGE", KEY), _RETENTION, is_needed=False),
    Right("time", ("TIME",), f"{_RETENTION}; {_LIMITS}", is_needed=False),
    Right("exists", ("EXISTS", KEY), _COUNT, is_needed=False),
    Right("xinfo|groups", ("XINFO", "GROUPS", KEY), _COUNT, is_needed=False),
    Right("info", ("INFO", "server"), "nobody notices that it was replaced", is_needed=False),
    Right("client|id", ("CLIENT", "ID"), _LONGER, is_needed=False),
    Right("waitaof", ("WAITAOF", 0, 0, 1), _LONGER, is_needed=False),
)
