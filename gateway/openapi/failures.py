"""Which errors each kind of route answers with, by status, from the tree of errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway import errors
from gateway.errors import GatewayError
from gateway.openapi.replies import error_of
from gateway.openapi.structs import Schema
from gateway.wire.messages.request import ThreadsUnsupported
from gateway.wire.protocol import Wire

Failure = type[GatewayError]

_KEYS: Sequence[Failure] = (errors.Unauthorized, errors.KeyExpired, errors.KeysNotKnownYet)
_ADMITTED: Sequence[Failure] = (
    *_KEYS,
    errors.RateLimited,
    errors.Overloaded,
    errors.InternalError,
)
_BODIES: Sequence[Failure] = (
    errors.RequestError,
    errors.BodyTooLarge,
    errors.RequestTimeout,
    errors.UnsupportedMediaType,
)
_CALLS: Sequence[Failure] = (
    errors.ShuttingDown,
    errors.UpstreamTimeout,
    errors.UpstreamUnavailable,
    errors.UpstreamFailed,
    errors.UpstreamBusy,
    errors.UpstreamMisconfigured,
    errors.UpstreamMalformed,
)
_ASKED: Sequence[Failure] = (
    *_ADMITTED,
    *_BODIES,
    *_CALLS,
    errors.MediaNotAllowed,
    errors.ModelNotFound,
)
# Of a key whose limit of a minute is reached the error is RateLimited too.
_SPENT: Sequence[Failure] = (errors.BudgetSpent,)
_BOUNDED: Sequence[Failure] = (errors.ArrayTooLong, errors.ValueTooLarge, errors.Forbidden)
_STORE: Sequence[Failure] = (*_ADMITTED, errors.StoreUnavailable, errors.Unreadable)

CASCADE = (*_ASKED, *_BOUNDED, *_SPENT, errors.TeacherUnavailable, errors.NotRecorded)
MESSAGES = (*CASCADE, ThreadsUnsupported)
COUNTING = (*_ASKED, *_BOUNDED, errors.CannotCount)
PASSED = (*_ASKED, *_SPENT, errors.NotServed)
MODELS = (*_KEYS, errors.InternalError)
MODEL = (*MODELS, errors.ModelNotFound, errors.NotFound)
STORED = (*_STORE, errors.RequestError, errors.NotFound)
STORED_CHANGE = (*STORED, *_BODIES)
STEERED: Sequence[Failure] = (
    errors.ModelNotFound,
    errors.NotServed,
    errors.StoreUnavailable,
    errors.InternalError,
)
STEERED_CHANGE = (*STEERED, *_KEYS, *_BODIES, errors.Forbidden, errors.ObjectiveChanged)

_SAYS = "The error of this status; `code` says which."


@dataclass(frozen=True, slots=True)
class Answers:
    """A kind of route's errors: ``name`` of their components, ``wire`` for their form.

    ``is_asking``: a model server may blame the request, with whatever status it does.
    """

    name: str
    kinds: Sequence[Failure]
    wire: Wire
    is_anthropic: bool = False
    is_asking: bool = False

    def references(self) -> dict[str, Schema]:
        """The responses of an operation."""
        return {
            status: {"$ref": f"#/components/responses/{self._component(status)}"}
            for status in self._by_status()
        }

    def components(self, headers: Mapping[str, Schema]) -> dict[str, Schema]:
        """What these refer to."""
        return {
            self._component(status): self._response(kinds, headers)
            for status, kinds in self._by_status().items()
        }

    def _component(self, status: str) -> str:
        return f"{self.name}{status}"

    def _by_status(self) -> dict[str, list[Failure]]:
        found: dict[str, list[Failure]] = {}
        for kind in dict.fromkeys(self.kinds):
            found.setdefault(str(kind.status), []).append(kind)
        if self.is_asking:
            found["4XX"] = []
        return dict(sorted(found.items()))

    def _response(self, kinds: Sequence[Failure], headers: Mapping[str, Schema]) -> Schema:
        # A model server that blames the request has codes of its own.
        is_blaming = self.is_asking and not any(kind.status >= 500 for kind in kinds)
        codes = None if is_blaming else [kind.code for kind in kinds]
        content: Schema = {"schema": error_of(codes, is_anthropic=self.is_anthropic)}
        if kinds:
            content["examples"] = {
                str(kind.code): {"$ref": f"#/components/examples/{self._example(kind)}"}
                for kind in kinds
            }
        told = dict(headers)
        if not any(_comes_back(kind) for kind in kinds):
            told.pop("retry-after", None)
        said = _SAYS if kinds else "A model server blames the request: its status and its words."
        return {"description": said, "headers": told, "content": {"application/json": content}}

    def _example(self, kind: Failure) -> str:
        return f"{'Anthropic' if self.is_anthropic else ''}{kind.__name__}"

    def examples(self) -> dict[str, Schema]:
        """An error of each kind, as its client gets it."""
        return {
            self._example(kind): {
                "summary": _first_line(kind),
                "value": msgspec.json.decode(self.wire.error_body(_made(kind), "0f3a")),
            }
            for kind in self.kinds
        }


def _comes_back(kind: Failure) -> bool:
    return _made(kind).retry_after_seconds is not None


def _made(kind: Failure) -> GatewayError:
    if issubclass(kind, errors.RateLimited):
        return kind(_first_line(kind), retry_after_seconds=1)
    return kind(_first_line(kind))


def _first_line(kind: Failure) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
