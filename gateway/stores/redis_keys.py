"""Every Redis key: its shape, type and life.

    understudy:{<cascade>}:pairs      stream  field ``pair``: the JSON record of one pair; trimmed
                                              only where the cascade says so
    understudy:{<cascade>}:audits     stream  the same, of audits
    understudy:{<cascade>}:deletions  stream  what somebody asked to be deleted: fields ``time`` and
                                              ``request_id`` or ``tenant``; never trimmed

None expires.  The braces make a Redis Cluster keep all keys of one cascade in one place.
"""

from gateway.ports import StreamKind

# The consumer group of `understudy pairs export`, unless another is named there.
EXPORT_GROUP = "export"


def stream_key(kind: StreamKind, cascade: str) -> str:
    """The stream of one cascade's records of a kind."""
    return f"understudy:{{{cascade}}}:{kind}"


def pairs_key(cascade: str) -> str:
    """The stream of one cascade's pairs."""
    return stream_key(StreamKind.PAIRS, cascade)


def deletions_key(cascade: str) -> str:
    """The stream of what is to be deleted of one cascade."""
    return f"understudy:{{{cascade}}}:deletions"
