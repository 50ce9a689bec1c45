"""``understudy pairs show``: one pair, whole."""

import msgspec

from distill.pairs import SCHEMA_VERSION, NoPair, Pair
from gateway.stores.sealing import SealBroken
from understudy.pairs.sealed import KEYS, Seals
from understudy.pairs.store import Log, Source, StreamName, opened, read_of
from understudy.telling import CommandError, perform


def show(name: str, *, source: Source | None = None, stream: StreamName = "pairs") -> int:
    """Print a pair as JSON, its content opened where it is encrypted.

    Parameters
    ----------
    name
        The id of a pair, or of a request: then all of its pairs.
    stream
        The pairs, or the audits.
    """

    def work() -> int:
        with opened(source or Source()) as log:
            found = pairs_named(log, stream, name)
        if not found:
            raise CommandError(f"{log.cascade} has no pair, and no request, with the id {name!r}")
        seals = Seals()
        for pair in found:
            print(document(pair, seals))
        return 0

    return perform("show it", work)


def pairs_named(log: Log, stream: StreamName, name: str) -> list[Pair]:
    """The pair with that id, or those of the request with that id."""
    found: dict[str, Pair] = {}
    written = msgspec.json.encode(name)
    for entry in log.entries(stream):
        if entry.pair is None or written not in entry.pair:  # so that few need to be read
            continue
        try:
            pair = read_of(stream, entry.pair)
        except NoPair:
            continue
        if name in (pair.id, pair.request_id):
            found.setdefault(pair.id, pair)
    return list(found.values())


def document(pair: Pair, seals: Seals) -> str:
    """The record in the words of this version, indented.  Raises CommandError."""
    try:
        content = seals.content_of(pair)
    except SealBroken:
        raise CommandError(f"no key in {KEYS} opens the pair {pair.id}") from None
    fields: dict[str, object] = {"schema_version": SCHEMA_VERSION}
    fields |= msgspec.to_builtins(pair, builtin_types=(msgspec.Raw,))
    fields["content"] = content
    if content is not None:
        fields["sealed"] = None
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
