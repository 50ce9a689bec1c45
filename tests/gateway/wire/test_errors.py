import json
from typing import Any

import pytest

from gateway.errors import GatewayError, UpstreamRefused
from gateway.wire.errors import error_body, error_headers, read_refusal, status_of


def leaves(kind: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize(
    "kind", [kind for kind in leaves(GatewayError) if kind is not UpstreamRefused]
)
def test_every_error_has_openai_s_four_keys(kind: type[GatewayError]) -> None:
    error = kind("What went wrong.")
    body = json.loads(error_body(error))
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == "What went wrong."
    assert 400 <= status_of(error) < 600
    assert (error.retry_after_seconds is None) is ("retry-after" not in error_headers(error))


@pytest.mark.parametrize(
    ("body", "message", "param", "is_too_long"),
    [
        ({"error": {"message": "m", "type": "BadRequestError", "param": "n"}}, "m", "n", False),
        (
            {"error": {"code": 400, "message": "m", "type": "invalid_request_error"}},
            "m",
            None,
            False,
        ),
        ({"error": "Unauthorized"}, "Unauthorized", None, False),
        ({"detail": "Not Found"}, "Not Found", None, False),
        ({"detail": [{"loc": ["body"]}]}, None, None, False),
        (b"<html>", None, None, False),
        ([{"error": {"message": "x"}}], None, None, False),
        ({"object": "error", "message": "context length 5"}, "context length 5", None, True),
        ({"error": {"message": "m", "param": 5}}, "m", None, False),
        ({"error": {"message": "x", "param": "input_tokens"}}, "x", "input_tokens", True),
        ({"error": {"message": "x", "type": "exceed_context_size_error"}}, "x", None, True),
        ({"error": {"message": "the Context Length is 5"}}, "the Context Length is 5", None, True),
    ],
)
def test_what_servers_say_of_a_bad_request_is_understood(
    body: Any, message: str | None, param: str | None, is_too_long: bool
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    refusal = read_refusal(400, raw)
    assert refusal.message == (message or "The model server refused the request.")
    assert refusal.param == param
    assert refusal.is_too_long is is_too_long
    assert set(json.loads(error_body(refusal))["error"]) == {"message", "type", "param", "code"}
