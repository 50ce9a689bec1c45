"""Every Redis key: its shape, type and life.

    understudy:{<cascade>}:pairs      stream  field ``pair``: the JSON record of one pair; trimmed
                                              only where the cascade says so
    understudy:{<cascade>}:audits     stream  the same, of audits
    understudy:{<cascade>}:deletions  stream  what somebody asked to be deleted: fields ``time`` and
                                              ``request_id`` or ``tenant``; never trimmed
    understudy:{<cascade>}:ledger:<YYYY-MM-DD>
                                      hash    what the requests of one day, by UTC, came to; fields
                                              as in routing/ledger.py.  Expires LEDGER_DAYS after
                                              that day
    understudy:{<cascade>}:ledger-origin:<id>
                                      hash    which postings of one process are in the books:
                                              ``top``, the highest number, and ``missing``, ranges
                                              below it that are not.  Expires ORIGIN_DAYS after
                                              the last one
    understudy:{<cascade>}:generations
                                      string  which generation of the student serves, and which one
                                              is tried: routing/rollout_file.py
    understudy:{<cascade>}:registry   stream  field ``state``: that document after each step, the
                                              newest last; never trimmed
    understudy:{<cascade>}:replicas   hash    by replica, what it last said of itself, and what a
                                              rollout came to there: routing/tally.py
    understudy:{<cascade>}:objective  hash    what holds for a steered cascade: ``revision``, and
                                              ``state`` as JSON, gateway/steering/state.py
                                              and ``version``, ``order`` of what operators set,
                                              gateway/steering/orders.py
    understudy:{<cascade>}:objectives stream  field ``entry``: who set which objective when, in
                                              place of which; never trimmed
    understudy:{<cascade>}:controller string  which replica steers it; expires with its lease,
                                              gateway/stores/objective_store.py
    understudy:{<cascade>}:reports    stream  field ``report``: what replicas served, each second;
                                              trimmed once the controller has taken it up
    understudy:{<cascade>}:adapters   hash    by student version, where `understudy distill promote`
                                              had its adapter loaded: understudy/distill/registry.py
    understudy:{<cascade>}:watch      string  what the command that watches a candidate last said of
                                              its counts: understudy/distill/narrating.py

    understudy:{<cascade>}:turns      stream  what replicas tell each other of conversations, in
                                              digests and counts: gateway/stores/turn_store.py.
                                              Holds the last MOST_ENTRIES

    understudy:limits:{<key>}         hash    by limit, the window and what was drawn of it by all
                                              replicas: gateway/stores/lease_script.py.  Expires
                                              LIMITS_SECONDS after the last draw; <key> is the name
                                              of a client's key
    understudy:{<cascade>}:stored     hash    completions that clients had stored, by
                                              ``<tenant>/<id>``: what is said of each, as JSON
    understudy:{<cascade>}:stored-answers
                                      hash    the same: the completion, in clear or sealed
    understudy:{<cascade>}:stored-requests
                                      hash    the same: the messages that it answers
    understudy:{<cascade>}:stored-order
                                      zset    ``<tenant>/<microseconds>/<id>``, all of score 0: a
                                              tenant's completions in the order of time
    understudy:{<cascade>}:stored-times
                                      zset    ``<tenant>/<id>`` by microseconds since 1970
    understudy:{<cascade>}:stored-deleted
                                      zset    the same, of those that a client deleted: a journal
                                              may bring them once more.  They go DELETED_DAYS after
                                              the time of the completion
    understudy:{<cascade>}:stored-totals
                                      hash    ``bytes``: what all of these take.  All seven are
                                              written by stores/completion_scripts.py
    understudy:keys                   hash    clients' keys: by the name of each its entry as JSON,
                                              gateway/key_entries.py, and under ``:revision`` how
                                              often the hash was changed

    understudy:{<cascade>}:doctor     none    never written: with it `understudy doctor` finds out
                                              what it may do

The others never expire.  The braces make a Redis Cluster keep all keys of one cascade in one place,
and those of different clients' keys in different ones.
"""

from gateway.ports import StreamKind

# The consumer group of `understudy pairs export`, unless another is named there.
EXPORT_GROUP = "export"
LEDGER_DAYS = 400
KEYS_KEY = "understudy:keys"
# A field of it that is no key: names of keys begin with a letter or a digit.
KEYS_REVISION = ":revision"
# A journal that comes back after so long, and has lost its word of what is shipped, counts twice.
ORIGIN_DAYS = 100
# Longer than the longest window, and than clocks of servers that take each other's place differ.
LIMITS_SECONDS = 172_800
DELETED_DAYS = 100
_OF_COMPLETIONS = ("answers", "requests", "order", "times", "deleted", "totals")


def stream_key(kind: StreamKind, cascade: str) -> str:
    """The stream of one cascade's records of a kind."""
    return f"understudy:{{{cascade}}}:{kind}"


def pairs_key(cascade: str) -> str:
    """The stream of one cascade's pairs."""
    return stream_key(StreamKind.PAIRS, cascade)


def deletions_key(cascade: str) -> str:
    """The stream of what is to be deleted of one cascade."""
    return f"understudy:{{{cascade}}}:deletions"


def ledger_key(cascade: str, day: str) -> str:
    """The books of one cascade and one day, such as ``2026-11-30``."""
    return f"understudy:{{{cascade}}}:ledger:{day}"


def ledger_origin_key(cascade: str, origin: str) -> str:
    """Which postings of one process are in one cascade's books."""
    return f"understudy:{{{cascade}}}:ledger-origin:{origin}"


def generations_key(cascade: str) -> str:
    """Which generations of a cascade's student are in force."""
    return f"understudy:{{{cascade}}}:generations"


def registry_key(cascade: str) -> str:
    """Every step that changed a cascade's generations."""
    return f"understudy:{{{cascade}}}:registry"


def replicas_key(cascade: str) -> str:
    """What each replica says of itself and of a rollout."""
    return f"understudy:{{{cascade}}}:replicas"


def objective_key(cascade: str) -> str:
    """What holds for a cascade that is steered."""
    return f"understudy:{{{cascade}}}:objective"


def objectives_key(cascade: str) -> str:
    """What operators set of a cascade's objective, in order."""
    return f"understudy:{{{cascade}}}:objectives"


def controller_key(cascade: str) -> str:
    """Which replica steers a cascade."""
    return f"understudy:{{{cascade}}}:controller"


def reports_key(cascade: str) -> str:
    """What the replicas of a cascade served."""
    return f"understudy:{{{cascade}}}:reports"


def adapters_key(cascade: str) -> str:
    """Where the adapters of a cascade's students were loaded from."""
    return f"understudy:{{{cascade}}}:adapters"


def completion_keys(cascade: str) -> tuple[str, ...]:
    """All keys of a cascade's stored completions, in the order in which they stand above."""
    heads = stream_key(StreamKind.STORED, cascade)
    return heads, *(f"{heads}-{name}" for name in _OF_COMPLETIONS)


def doctor_key(cascade: str) -> str:
    """A key that is never written."""
    return f"understudy:{{{cascade}}}:doctor"


def turns_key(cascade: str) -> str:
    """What replicas tell each other of a cascade's conversations."""
    return f"understudy:{{{cascade}}}:turns"


def watch_key(cascade: str) -> str:
    """What whoever watches a cascade's candidate last said."""
    return f"understudy:{{{cascade}}}:watch"


def limits_key(key: str) -> str:
    """What was drawn of the limits of one client's key, by its name."""
    return f"understudy:limits:{{{key}}}"
