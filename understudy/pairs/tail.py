"""``understudy pairs tail``: a line for each pair, as they come."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from distill.pairs import Audit, NoPair, Pair
from understudy.pairs.store import (
    FIRST,
    LAST,
    Entry,
    Log,
    Source,
    StreamName,
    entry_of,
    opened,
    read_of,
)
from understudy.telling import perform

BLOCK_MILLISECONDS = 1000
AT_ONCE = 100


def tail(
    *,
    source: Source | None = None,
    stream: StreamName = "pairs",
    lines: Annotated[int, Parameter(validator=Number(gte=0, lte=10_000))] = 10,
    follow: bool = True,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show the last pairs, and then each new one until you stop it.

    Parameters
    ----------
    stream
        The pairs, or the audits.
    lines
        So many of those that are there already.
    follow
        Whether to wait for more.
    as_json
        Print the records themselves, a line each.
    """
    console = Console()

    def work() -> int:
        with opened(source or Source()) as log:
            for entry in entries_of(log, stream, lines, is_followed=follow):
                if as_json:
                    print((entry.pair or b"null").decode(errors="backslashreplace"), flush=True)
                else:
                    console.print(line_of(entry, stream), soft_wrap=True)
        return 0

    return perform("follow", work)


def entries_of(log: Log, stream: StreamName, lines: int, *, is_followed: bool) -> Iterator[Entry]:
    """The last so many entries, and then, where that is wanted, all that come."""
    client, key = log.client, log.key(stream)
    last = "0-0"
    newest = cast("Any", client.xrevrange(key, LAST, FIRST, count=max(lines, 1)))
    if newest:
        last = newest[0][0].decode()
    for each, fields in reversed(newest[:lines]):
        yield entry_of(each, fields)
    while is_followed:
        reply = cast("Any", client.xread({key: last}, count=AT_ONCE, block=BLOCK_MILLISECONDS))
        for each, fields in entries_in(reply):
            last = each.decode()
            yield entry_of(each, fields)


def entries_in(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries that a read of one stream brought, in either version of Redis' protocol."""
    if not reply:
        return []
    if isinstance(reply, dict):
        (found,) = reply.values()
        return list(found[0]) if found and isinstance(found[0], list) else list(found)
    return list(reply[0][1])


def line_of(entry: Entry, stream: StreamName = "pairs") -> Text:
    """One pair, or audit, for people."""
    try:
        pair = read_of(stream, entry.pair or b"")
    except NoPair as why:
        return Text(f"{entry.id}  {why}", style="red")
    return Text("  ".join(_cells(pair)))


def _cells(pair: Pair) -> Iterator[str]:
    yield datetime.fromtimestamp(pair.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    yield pair.id
    yield f"{pair.reason or 'no reason'}"
    yield "confidence " + ("unknown" if pair.confidence is None else f"{pair.confidence:.3f}")
    yield f"tenant {pair.tenant or '(none)'}"
    yield f"student {pair.student_version}"
    yield "draft complete" if pair.draft_complete else "draft cut short or none"
    if pair.splice is not None:
        yield f"spliced ({pair.splice.handover})"
    if isinstance(pair, Audit):
        yield f"{pair.known}, {_outcome(pair)}"
    if pair.completes is not None:
        yield f"completes {pair.completes}"
    if pair.sealed is not None:
        yield "sealed"
    if pair.dropped is not None:
        yield f"dropped ({pair.dropped})"


def _outcome(audit: Audit) -> str:
    if audit.score is None:
        return "no answer"
    return "agrees" if audit.loss == 0 else "differs"
