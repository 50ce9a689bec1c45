"""The log's line of one request: what it says, and in which order.  Never a prompt, an answer or a
key.
"""

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from gateway.facts import ABORTED, SPARE, Ending, Leg, RequestSettled
from gateway.telemetry.log import timestamp
from routing.money import total_of, usd
from routing.streaming import Doubt
from routing.vocabulary import Degraded, Handover, Kind, Obstacle, Reason, Role

# With these a call did what was wanted of it.
_NO_FAILURES = (None, ABORTED, SPARE)


class RequestLine(Struct, kw_only=True):
    """Members in the order in which they are written, those aside that are UNSET.

    A struct, because one is made for every request: a dictionary without what is missing takes
    four times as long to put together.
    """

    request_id: str
    cascade: str | None
    tenant: str | None
    outcome: Ending
    status: int
    seconds: float
    stream: bool
    served_by: Role | None
    reason: Reason | None
    degraded: Degraded | None
    confidence: float | None
    merit: float | None
    group: str | None
    policy: str | None
    cost_usd: str | None
    tokens: int = 0
    error: str | None
    cost_by_kind: Mapping[Kind, str | None] | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
    first_byte_seconds: float | UnsetType | None = UNSET
    handover: Handover | UnsetType | None = UNSET
    doubt_reason: Reason | UnsetType = UNSET
    doubt_confidence: float | UnsetType | None = UNSET
    doubt_at_tokens: int | UnsetType = UNSET
    not_handed_over: Obstacle | UnsetType = UNSET
    failures: Sequence[Mapping[str, object]] | UnsetType = UNSET
    event: str = "request"
    level: str = "info"
    timestamp: str


def request_line(fact: RequestSettled) -> RequestLine:
    """The line of one request, as of now."""
    cost_pico, confidence, merit = fact.cost_pico, fact.confidence, fact.merit
    line = RequestLine(
        request_id=fact.request_id,
        cascade=fact.cascade,
        tenant=fact.tenant,
        outcome=fact.ending,
        status=fact.status,
        seconds=round(fact.seconds, 6),
        stream=fact.is_stream,
        served_by=fact.served_by,
        reason=fact.reason,
        degraded=fact.degraded,
        confidence=None if confidence is None else round(confidence.value, 6),
        merit=None if merit is None else round(merit.value, 6),
        group=fact.group,
        policy=fact.policy_version,
        cost_usd=None if cost_pico is None else usd(cost_pico),
        error=fact.error_code,
        timestamp=timestamp(),
    )
    _tell_bill(line, fact)
    if fact.trace_id is not None:
        line.trace_id = fact.trace_id
    if fact.is_stream:
        _tell_stream(line, fact)
    _tell_calls(line, fact)
    return line


def _tell_bill(line: RequestLine, fact: RequestSettled) -> None:
    """What was paid for what, where not all of it was served, and whether it is an estimate."""
    entries, is_all_served = fact.entries, True
    for entry in entries:
        if entry.is_estimated:
            line.estimated = True
        if entry.kind is not Kind.SERVED:
            is_all_served = False
    if is_all_served:
        return
    by_kind: dict[Kind, str | None] = {}
    for kind in dict.fromkeys(entry.kind for entry in entries):
        cost = total_of([entry.cost_pico for entry in entries if entry.kind is kind])
        by_kind[kind] = None if cost is None else usd(cost)
    line.cost_by_kind = by_kind


def _tell_stream(line: RequestLine, fact: RequestSettled) -> None:
    """What only streams have."""
    seconds = fact.first_byte_seconds
    line.first_byte_seconds = None if seconds is None else round(seconds, 6)
    line.handover = fact.handover
    if fact.doubt is not None:
        _tell_doubt(line, fact.doubt)
    if fact.obstacle is not None:
        line.not_handed_over = fact.obstacle


def _tell_doubt(line: RequestLine, doubt: Doubt) -> None:
    """What only answers have that fell into doubt when they were half out."""
    confidence = doubt.confidence
    line.doubt_reason = doubt.reason
    line.doubt_confidence = None if confidence is None else round(confidence.value, 6)
    line.doubt_at_tokens = doubt.tokens


def _tell_calls(line: RequestLine, fact: RequestSettled) -> None:
    """How many tokens the calls to models took, which went wrong, and which were not made."""
    failed: list[Mapping[str, object]] = []
    for leg in fact.legs:
        if (usage := leg.usage) is not None:
            line.tokens += usage.input + usage.output
        if leg.error not in _NO_FAILURES:
            failed.append(_failure(leg))
    for denial in fact.denials:
        failed.append({"role": denial.role, "error": denial.cause})
    if failed:
        line.failures = failed


def _failure(leg: Leg) -> Mapping[str, object]:
    return {
        "role": leg.role,
        "server": leg.server,
        "error": leg.error,
        "detail": leg.detail,
        "seconds": leg.seconds,
    }
