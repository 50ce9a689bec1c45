"""The completions that a gateway stored for its clients, as far as deletions concern them."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from distill.deletions import Deletion, Deletions
from gateway.stores.completion_scripts import member_of, microseconds, removal_of
from gateway.stores.redis_keys import completion_keys
from understudy.pairs.store import PAGE_ENTRIES, Log


class _Head(msgspec.Struct):
    request_id: str
    tenant: str | None
    time: float


_head = msgspec.json.Decoder(_Head)


def remove_stored(log: Log, deletion: Deletion) -> int:
    """Take what a wish concerns out of a cascade's stored completions; how many those were."""
    pages = _of_tenant if deletion.request_id is None else _of_request
    run: Any = log.client.execute_command
    counts = [int(run(*removal_of(log.cascade, page))) for page in pages(log, deletion)]
    return sum(counts)


def _of_tenant(log: Log, deletion: Deletion) -> Iterator[Sequence[str]]:
    """A tenant's, up to the time of the wish, by pages that are to be removed one after another."""
    tenant, until = deletion.tenant or "", microseconds(deletion.time)
    order = completion_keys(log.cascade)[3]
    first, behind = f"({tenant}/", f"[{tenant}/{until + 1:016d}"
    run: Any = log.client.execute_command
    while True:
        span = (first, behind, "BYLEX", "LIMIT", 0, PAGE_ENTRIES)
        found = run("ZRANGE", order, *span)
        if not found:
            return
        yield [member_of(tenant, each.decode().split("/", 2)[2]) for each in found]


def _of_request(log: Log, deletion: Deletion) -> Iterator[Sequence[str]]:
    """Those of a request: all of the cascade are looked at."""
    wishes = Deletions()
    wishes.add([deletion])
    for member, head in log.client.hscan_iter(completion_keys(log.cascade)[0], count=PAGE_ENTRIES):
        try:
            subject = _head.decode(cast("bytes", head))
        except msgspec.MsgspecError:
            continue
        if wishes.concern(subject.request_id, subject.tenant, subject.time):
            yield [cast("bytes", member).decode()]
