"""Errors in Anthropic's form."""

from collections.abc import Mapping

import msgspec

from gateway.errors import GatewayError
from gateway.wire.errors import code_of, status_of
from gateway.wire.messages.events import event

# The statuses stay those of every other route: official clients tell errors apart by them, and try
# again after 408, 409, 429 and all from 500 on.
_KINDS: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The body of an error response."""
    return msgspec.json.encode({"type": "error", **_fields(error, request_id)})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The end of a stream that fails: a client of this protocol reads no more."""
    return event("error", _fields(error, request_id))


def _fields(error: GatewayError, request_id: str) -> dict[str, object]:
    said: dict[str, object] = {"type": _kind_of(error), "message": _message_of(error)}
    code = code_of(error)
    if code is not None:
        said["details"] = {"error_code": code}
    return {"error": said, "request_id": request_id}


def _kind_of(error: GatewayError) -> str:
    status = status_of(error)
    return _KINDS.get(status) or ("invalid_request_error" if status < 500 else "api_error")


def _message_of(error: GatewayError) -> str:
    """The message; it names the parameter, for which this form has no place of its own."""
    is_named = error.param is None or error.param in error.message
    return error.message if is_named else f"{error.param}: {error.message}"
