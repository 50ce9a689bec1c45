import json
from typing import Any

import pytest

from gateway.errors import (
    BodyTooLarge,
    Forbidden,
    GatewayError,
    InternalError,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestError,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.wire.messages.errors import error_body, error_event
from tests.fakes.messages import events_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError("?"), "invalid_request_error"),
        (Unauthorized("?"), "authentication_error"),
        (ModelNotFound("?"), "not_found_error"),
        (MethodNotAllowed("?"), "invalid_request_error"),
        (RequestTimeout("?"), "timeout_error"),
        (BodyTooLarge("?"), "request_too_large"),
        (UnsupportedMediaType("?"), "invalid_request_error"),
        (Forbidden("?"), "permission_error"),
        (RateLimited("?", retry_after_seconds=1), "rate_limit_error"),
        (Overloaded("?"), "overloaded_error"),
        (InternalError("?"), "api_error"),
        (UpstreamFailed("?"), "api_error"),
        (UpstreamTimeout("?"), "timeout_error"),
    ],
)
def test_an_error_s_kind_goes_by_its_status(error: GatewayError, kind: str) -> None:
    assert json.loads(error_body(error, "r1")) == {
        "type": "error",
        "error": {"type": kind, "message": "?", "details": {"error_code": error.code}},
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("param", "message"),
    [
        (None, "Too large."),
        ("max_tokens", "max_tokens: Too large."),
        ("Too", "Too large."),
    ],
)
def test_the_message_names_the_parameter(param: str | None, message: str) -> None:
    refusal = UpstreamRefused("Too large.", param=param, upstream_status=422, is_too_long=False)
    said: Any = json.loads(error_body(refusal, "r1"))["error"]
    assert (said["type"], said["message"]) == ("invalid_request_error", message)
    assert said["details"] == {"error_code": "invalid_request"}


def test_an_error_amid_a_stream_is_its_last_event() -> None:
    (event,) = events_of(error_event(UpstreamFailed("It broke."), "r1"))
    assert event == json.loads(error_body(UpstreamFailed("It broke."), "r1"))
