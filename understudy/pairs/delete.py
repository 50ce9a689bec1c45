"""``understudy pairs delete``: all of a request or of a tenant goes, and does not come back."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from distill.deletions import Deletion, Deletions
from distill.pairs import subject_of
from understudy.pairs.store import PAGE_ENTRIES, Log, Source, StreamName, now, opened
from understudy.pairs.stored import remove_stored
from understudy.telling import CommandError, perform

NOT_WANTED = 1
STREAMS: tuple[StreamName, ...] = ("pairs", "audits")


def delete(
    *,
    source: Source | None = None,
    request_id: str | None = None,
    tenant: str | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Delete a request's records, or all that a tenant has written until now.

    First the wish is written down, where gateways find it: what waits in their journals is
    blanked, and never shipped.  Then the streams are searched, and what clients had stored.  Later
    exports skip what is to be deleted, and consolidation takes it out of what was exported before.

    Parameters
    ----------
    request_id
        The request whose records go.
    tenant
        The tenant whose records go.
    yes
        Do not ask.
    """
    console = Console()

    def work() -> int:
        if (request_id is None) == (tenant is None):
            raise CommandError("say what: --request-id or --tenant, one of them")
        with opened(source or Source(), needs_stream=False) as log:
            what = f"request {request_id!r}" if tenant is None else f"tenant {tenant!r}"
            if not yes and not _agreed(f"Delete all of {what} in {log.cascade}?"):
                return NOT_WANTED
            deletion = Deletion(now(), request_id, tenant)
            log.delete(deletion)
            removed: dict[str, int] = {stream: remove(log, stream, deletion) for stream in STREAMS}
            removed["stored completions"] = remove_stored(log, deletion)
        for name, count in removed.items():
            console.print(f"{name}: {count:,} removed", highlight=False)
        console.print(
            "The wish is written down: journals are blanked, exports skip it, and consolidation "
            "takes it out of parts that were exported before.",
            highlight=False,
            soft_wrap=True,
        )
        return 0

    return perform("delete", work)


def remove(log: Log, stream: StreamName, deletion: Deletion) -> int:
    """Take what a wish concerns out of a stream; how many entries that were."""
    wishes = Deletions()
    wishes.add([deletion])
    found: list[str] = []
    removed = 0
    for entry in log.entries(stream):
        subject = subject_of(entry.pair or b"")
        if subject and wishes.concern(subject.request_id, subject.tenant, subject.time):
            found.append(entry.id)
        if len(found) >= PAGE_ENTRIES:
            removed += log.client.xdel(log.key(stream), *found)
            found = []
    if found:
        removed += log.client.xdel(log.key(stream), *found)
    return removed


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise CommandError("nobody is there to be asked: say --yes") from None
