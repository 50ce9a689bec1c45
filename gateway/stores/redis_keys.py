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
    understudy:{<cascade>}:adapters   hash    by student version, where `understudy distill promote`
                                              had its adapter loaded: understudy/distill/registry.py
    understudy:{<cascade>}:watch      string  what the command that watches a candidate last said of
                                              its counts: understudy/distill/narrating.py

    understudy:{<cascade>}:doctor     none    never written: with it `understudy doctor` finds out
                                              what it may do

The others never expire.  The braces make a Redis Cluster keep all keys of one cascade in one place.
"""

from gateway.ports import StreamKind

# The consumer group of `understudy pairs export`, unless another is named there.
EXPORT_GROUP = "export"
LEDGER_DAYS = 400
# A journal that comes back after so long, and has lost its word of what is shipped, counts twice.
ORIGIN_DAYS = 100


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


def adapters_key(cascade: str) -> str:
    """Where the adapters of a cascade's students were loaded from."""
    return f"understudy:{{{cascade}}}:adapters"


def doctor_key(cascade: str) -> str:
    """A key that is never written."""
    return f"understudy:{{{cascade}}}:doctor"


def watch_key(cascade: str) -> str:
    """What whoever watches a cascade's candidate last said."""
    return f"understudy:{{{cascade}}}:watch"
