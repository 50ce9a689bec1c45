"""The one place where an error body is built, and where an upstream's is read.

OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``, all four keys always.
"""

import msgspec

from gateway.errors import ErrorNames, GatewayError, UpstreamRefused

# llama.cpp's, vLLM's and vendors' words for a request that is beyond the model's context.  Its
# answer counts too: "max_tokens=… cannot be greater than max_model_len=…".
_TOO_LONG_MARKS = ("context length", "context size", "context window", "max_model_len")
_TOO_LONG_NAMES = frozenset({"exceed_context_size_error", "context_length_exceeded"})
# A server may quote the whole prompt, and name an error as it likes.
MAX_MESSAGE_CHARACTERS = 10_000
MAX_NAME_CHARACTERS = 200


def status_of(error: GatewayError) -> int:
    """The HTTP status that the client gets."""
    return error.upstream_status if isinstance(error, UpstreamRefused) else error.status


def code_of(error: GatewayError) -> str | None:
    """OpenAI's code, or None."""
    if isinstance(error, UpstreamRefused):
        ours = "context_length_exceeded" if error.is_too_long else "invalid_request"
        return error.names.code or ours
    return error.code


def type_of(error: GatewayError) -> str:
    """OpenAI's type: the model server's word where the error is one of its own."""
    told = error.names.type if isinstance(error, UpstreamRefused) else None
    return told or error.kind


def error_fields(error: GatewayError) -> dict[str, object]:
    """OpenAI's error object."""
    return {
        "message": error.message,
        "type": type_of(error),
        "param": error.param,
        "code": code_of(error),
    }


def error_body(error: GatewayError) -> bytes:
    """Encode the error as OpenAI does."""
    return msgspec.json.encode({"error": error_fields(error)})


def error_event(error: GatewayError) -> bytes:
    """The error as the last event of a stream, and its end."""
    return b"data: " + error_body(error) + b"\n\ndata: [DONE]\n\n"


def error_headers(error: GatewayError) -> dict[str, str]:
    """Headers that belong to the error, content type included."""
    headers = {"content-type": "application/json", **error.headers}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


_anything = msgspec.json.Decoder()


def read_refusal(status: int, body: bytes) -> UpstreamRefused:
    """What a model server says of a request that it will not serve.

    Servers write OpenAI's object with keys missing, the same without the envelope, a bare text, or
    FastAPI's ``detail``; anything else becomes a message of ours.  A number for a code only repeats
    the status, and is none.
    """
    try:
        parsed = _anything.decode(body)
    except (ValueError, RecursionError):  # of broken text too: a refusal is one, whatever it says
        parsed = None
    fields = parsed if isinstance(parsed, dict) else {}
    said = fields.get("error", fields)
    said = said if isinstance(said, dict) else {"message": said}
    found, place = _detail(fields.get("detail"))
    message = _text(said.get("message")) or found or ""
    names = ErrorNames(_name(said.get("type")), _name(said.get("code")))
    param = _name(said.get("param")) or place
    is_too_long = (
        not _TOO_LONG_NAMES.isdisjoint({names.type, names.code})
        or param == "input_tokens"
        or any(mark in message.lower() for mark in _TOO_LONG_MARKS)
    )
    return UpstreamRefused(
        _cut(message) or "The model server refused the request.",
        param=param,
        upstream_status=status,
        is_too_long=is_too_long,
        names=names,
    )


def _detail(detail: object) -> tuple[str | None, str | None]:
    """The message and the place in FastAPI's form: a text, or a list of what does not validate."""
    if not isinstance(detail, list) or not detail or not isinstance(detail[0], dict):
        return _text(detail), None
    steps = detail[0].get("loc")
    path = ".".join(map(str, steps)) if isinstance(steps, list) else ""
    return _text(detail[0].get("msg")), _name(path.removeprefix("body").lstrip(".")) or None


def _cut(message: str) -> str:
    """Not too much of it, and no half of a word: half a key would not be known for one."""
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    return message[:MAX_MESSAGE_CHARACTERS].rpartition(" ")[0]


def _name(value: object) -> str | None:
    name = _text(value)
    return None if name is None or len(name) > MAX_NAME_CHARACTERS else name


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
