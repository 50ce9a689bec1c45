"""The headers that requests may have and responses do."""

from collections.abc import Sequence

from gateway.openapi.structs import TEXT, Schema, one_of
from gateway.wire.chat import GROUP_HEADER
from gateway.wire.controls import CONFIDENCE_HEADER, ROUTE_HEADER
from gateway.wire.conversation import CONVERSATION_HEADER
from gateway.wire.session import SESSION_HEADER
from routing.prompt import MAX_GROUP_CHARACTERS
from routing.vocabulary import Degraded, Handover, Reason, Role, Route

_NUMBER: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
_LIMITS = ("requests", "tokens")


def response_headers() -> dict[str, Schema]:
    """The components, by name."""
    said = {
        "x-request-id": _told("The request's id: the client's own, or a new one.", TEXT),
        "request-id": _told("The same, where Anthropic's clients look for it.", TEXT),
        "retry-after": _told("Seconds after which to try again.", _NUMBER),
        "etag": _told("The version of what operators have set, for `if-match`.", TEXT),
        "x-understudy-cascade": _told("The cascade that answered.", TEXT),
        "x-understudy-policy": _told("The version of the policy in force.", TEXT),
        "x-understudy-served-by": _told("Whose answer this is.", one_of(*map(str, Role))),
        "x-understudy-reason": _told("Why.", one_of(*map(str, Reason))),
        "x-understudy-confidence": _told("How sure the draft was.", _NUMBER),
        "x-understudy-degraded": _told(
            "Why a draft is served that was deferred.", one_of(*map(str, Degraded))
        ),
        "x-understudy-cost-usd": _told("What the request cost, where that is known.", _NUMBER),
    }
    for unit in _LIMITS:
        said |= {
            f"x-ratelimit-limit-{unit}": _told(f"The key's {unit} a minute, if limited.", _NUMBER),
            f"x-ratelimit-remaining-{unit}": _told("What is left of these.", TEXT),
            f"x-ratelimit-reset-{unit}": _told("When all of it is there again.", TEXT),
        }
    return said


RATE_LIMITS = tuple(
    f"x-ratelimit-{what}-{unit}" for unit in _LIMITS for what in ("limit", "remaining", "reset")
)
OF_ANSWERS = (
    "x-request-id",
    *(f"x-understudy-{name}" for name in ("cascade", "policy", "served-by", "reason")),
    *(f"x-understudy-{name}" for name in ("confidence", "degraded", "cost-usd")),
    *RATE_LIMITS,
)
OF_PASSED = ("x-request-id", "x-understudy-cost-usd", *RATE_LIMITS)
OF_ERRORS = ("x-request-id", "retry-after")


def references(names: Sequence[str]) -> dict[str, Schema]:
    """Headers of a response, by reference."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def wish_parameters() -> list[Schema]:
    """What a request may say in headers of who is to answer."""
    return [
        _asked("x-request-id", "An id of the client's own.", TEXT),
        _asked(ROUTE_HEADER, "Who is to answer.", one_of(*map(str, Route))),
        _asked(
            CONFIDENCE_HEADER,
            "The least confidence with which a draft is kept.",
            {"type": "number", "minimum": 0, "maximum": 1},
        ),
    ]


def answer_parameters() -> list[Schema]:
    """What it may say of the answer too."""
    group: Schema = {
        "type": "string",
        "pattern": rf"^[A-Za-z0-9_.:-]{{1,{MAX_GROUP_CHARACTERS}}}$",
    }
    return [
        *wish_parameters(),
        _asked(CONVERSATION_HEADER, "The conversation of which this is a turn.", TEXT),
        _asked(SESSION_HEADER, "The same: requests of one keep to one student.", TEXT),
        _asked(GROUP_HEADER, "The kind of task that this is.", group),
        _asked(
            "x-understudy-handover",
            f"`{Handover.RESTART}`: this client understands a stream that begins again.",
            TEXT,
        ),
    ]


def _told(description: str, schema: Schema) -> Schema:
    return {"description": description, "schema": schema}


def _asked(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}
