"""The response object: what is said of an answer around its output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.errors import GatewayError
from gateway.wire.completion import part_of
from gateway.wire.errors import status_of
from gateway.wire.responses.output import COMPLETED, INCOMPLETE, Event
from gateway.wire.responses.request import Request

# Why an answer is not whole, by how a chat completion says it.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    created_cache_tokens: int | None = None  # vLLM's word for it


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Billed(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


_usage = msgspec.json.Decoder(_Usage | None)
_billed = msgspec.json.Decoder(_Billed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, in the words of a chat completion; ``at`` is a time since the epoch."""

    output: Sequence[Event]
    finish_reason: str | None
    service_tier: str | None
    usage: Mapping[str, object] | msgspec.Raw | None
    at: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """All of a response that does not depend on its answer."""

    id: str
    created_at: int
    request: Request

    def begun(self) -> Event:
        """The response before there is an answer."""
        return self._response("in_progress", ())

    def ended(self, outcome: Outcome) -> Event:
        """The response with its answer."""
        reason = _INCOMPLETE.get(outcome.finish_reason or "")
        response = self._response(COMPLETED if reason is None else INCOMPLETE, outcome.output)
        if reason is None:
            response["completed_at"] = outcome.at
        else:
            response["incomplete_details"] = {"reason": reason}
        if outcome.service_tier is not None:
            response["service_tier"] = outcome.service_tier
        return response | {"usage": _response_usage(outcome.usage)}

    def failed(self, error: GatewayError, output: Sequence[Event]) -> Event:
        """The response that came to nothing, or not far."""
        told = {"code": _code_of(error), "message": error.message}
        return self._response("failed", output) | {"error": told}

    def _response(self, status: str, output: Sequence[Event]) -> Event:
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self.created_at,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.request.chat.model,
            "output": output,
            "usage": None,
            **self.request.echo,
        }


def is_whole(finish_reason: str | None) -> bool:
    """Whether an answer that ended so is complete."""
    return finish_reason not in _INCOMPLETE


def usage_in(body: bytes) -> msgspec.Raw:
    """The usage of a chat completion, as it was written."""
    return _billed.decode(body).usage


def _response_usage(usage: Mapping[str, object] | msgspec.Raw | None) -> Event | None:
    counts = part_of(_usage, msgspec.Raw(msgspec.json.encode(usage)))
    if counts is None:
        return None
    told_input = counts.prompt_tokens_details or _InputDetails()
    told_output = counts.completion_tokens_details or _OutputDetails()
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": told_input.cached_tokens or 0,
            "cache_write_tokens": told_input.cache_write_tokens
            or told_input.created_cache_tokens
            or 0,
        },
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": told_output.reasoning_tokens or 0},
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }


def _code_of(error: GatewayError) -> str:
    """The word for it among those that OpenAI has for responses that failed."""
    status = status_of(error)
    if status >= 500:
        return "server_error"
    return "rate_limit_exceeded" if status == 429 else "invalid_prompt"
