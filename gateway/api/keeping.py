"""What of a request's content is written: redacted and sealed as its cascade wishes, or dropped."""

from functools import partial

from gateway.api.context import Context, Served
from gateway.facts import ContentDropped
from gateway.safekeeping import Kept


async def kept_content(context: Context, served: Served, record_id: str, content: bytes) -> Kept:
    """The content as it may be written in a record.

    Much of it is redacted and sealed in a thread; anything else happens at once.
    """
    keep = partial(served.safekeeping.keep, content)
    is_quick = served.safekeeping.is_quick
    kept = keep() if is_quick else await context.keeping.for_body(content, keep)
    if kept.dropped is not None:
        fact = ContentDropped(
            cascade=served.cascade.name,
            pair_id=record_id,
            cause=kept.dropped,
            redactor=kept.redactor,
            detail=kept.failure,
        )
        context.observer.content_dropped(fact)
    return kept
