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


def error_event(error: GatewayError) -> bytes:
    """The error as the last event of a stream, and its end."""
    return b"data: " + error_body(error) + b"\n\ndata: [DONE]\n\n"


def error_headers(error: GatewayError) -> dict[str, str]:
    """Headers that belong to the error, content type included."""
    headers = {"content-type": "application/json"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


_anything = msgspec.json.Decoder()


def read_refusal(status: int, body: bytes) -> UpstreamRefused:
    """What a model server says of a request that it will not serve.

    Servers write OpenAI's object with keys missing, the same without the envelope, a bare text, or
    FastAPI's ``detail``; anything else becomes a message of ours.
    """
    try:
        parsed = _anything.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        parsed = None
    fields = parsed if isinstance(parsed, dict) else {}
    said = fields.get("error", fields)
    said = said if isinstance(said, dict) else {"message": said}
    message = _text(said.get("message")) or _text(fields.get("detail")) or ""
    param = _text(said.get("param"))
    is_too_long = (
        said.get("type") == "exceed_context_size_error"
        or param == "input_tokens"
        or any(mark in message.lower() for mark in _TOO_LONG_MARKS)
    )
    return UpstreamRefused(
        message or "The model server refused the request.",
        param=param,
        upstream_status=status,
        is_too_long=is_too_long,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
