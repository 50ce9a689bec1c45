"""What came of one call to a model, before it is a leg of its request."""

from msgspec import Struct, structs

from gateway.errors import UpstreamError, UpstreamRefused
from gateway.facts import CANCELLED
from routing.money import NOTHING_USED, Usage, less


class Outcome(Struct, frozen=True):
    """What came of a call: ``error`` is None where it went well."""

    usage: Usage | None
    error: str | None = None
    detail: str | None = None
    is_estimated: bool = False


LEFT = Outcome(None, CANCELLED)


def failed(failure: UpstreamError | UpstreamRefused) -> Outcome:
    """What came of a call that failed, or was refused."""
    usage = None if failure.is_usage_unknown else NOTHING_USED
    return Outcome(usage, failure.code or CANCELLED, failure.detail())


def rest_of(whole: Outcome, before: Outcome | None) -> Outcome:
    """What has been used since; all of it where nobody knows what was before."""
    if before is None or whole.usage is None or before.usage is None:
        return whole
    is_estimated = whole.is_estimated or before.is_estimated
    rest = less(whole.usage, before.usage, is_exact=not is_estimated)
    return structs.replace(whole, usage=rest, is_estimated=is_estimated and rest is not None)
