"""Every Redis key: its shape, type and life.

    understudy:{<cascade>}:pairs    stream, no expiry    field ``pair``: the JSON record of one pair

The braces make a Redis Cluster keep all keys of one cascade in one place.
"""


def pairs_key(cascade: str) -> str:
    """The stream of one cascade's pairs."""
    return f"understudy:{{{cascade}}}:pairs"
