"""The one place where an error body is built, and where an upstream's is read.

OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``, all four keys always.
"""

import msgspec

from gateway.errors import GatewayError, UpstreamRefused

_TOO_LONG_MARKS = ("context length", "context size", "context window")


def status_of(error: GatewayError) -> int:
    """The HTTP status that the client gets."""
    return error.upstream_status if isinstance(error, UpstreamRefused) else error.status


def code_of(error: GatewayError) -> str | None:
    """OpenAI's code, or None."""
    if isinstance(error, UpstreamRefused):
        return "context_length_exceeded" if error.is_too_long else "invalid_request"
    return error.code


def error_body(error: GatewayError) -> bytes:
    """Encode the error as OpenAI does."""
    fields = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": code_of(error),
    }
    return msgspec.json.encode({"error": fields})


def error_headers(error: GatewayError) -> dict[str, str]:
    """Headers that belong to the error, content type included."""
    headers = {"content-type": "application/json"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


class _Detail(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: _Detail | str | None = None
    detail: object = None


def read_refusal(status: int, body: bytes) -> UpstreamRefused:
    """What a model server says of a request that it will not serve.

    vLLM and llama.cpp write OpenAI's object with keys missing, vLLM's middleware a bare text, and
    FastAPI ``detail``; anything else becomes a message of ours.
    """
    message, param, kind = "", None, None
    try:
        parsed = msgspec.json.decode(body, type=_Body)
    except msgspec.MsgspecError:
        parsed = _Body()
    match parsed.error:
        case _Detail():
            message, param, kind = parsed.error.message, parsed.error.param, parsed.error.type
        case str():
            message = parsed.error
        case None:
            message = parsed.detail if isinstance(parsed.detail, str) else ""
    is_too_long = (
        kind == "exceed_context_size_error"
        or param == "input_tokens"
        or any(mark in message.lower() for mark in _TOO_LONG_MARKS)
    )
    return UpstreamRefused(
        message or "The model server refused the request.",
        param=param,
        upstream_status=status,
        is_too_long=is_too_long,
    )
