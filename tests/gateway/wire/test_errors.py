import json
from typing import Any

import pytest

from gateway.errors import GatewayError, LimitReached, RateLimited, UpstreamRefused
from gateway.wire.errors import (
    MAX_MESSAGE_CHARACTERS,
    error_body,
    error_headers,
    read_refusal,
    status_of,
)


def leaves(kind: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


def made(kind: type[GatewayError]) -> GatewayError:
    if issubclass(kind, LimitReached):
        return kind("What went wrong.", kind="tokens", retry_after_seconds=7, headers={})
    if issubclass(kind, RateLimited):
        return kind("What went wrong.", retry_after_seconds=7)
    return kind("What went wrong.")


@pytest.mark.parametrize(
    "kind", [kind for kind in leaves(GatewayError) if kind is not UpstreamRefused]
)
def test_every_error_has_openai_s_four_keys(kind: type[GatewayError]) -> None:
    error = made(kind)
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
        ({"detail": [{"loc": ["body", "n"], "msg": "too many"}]}, "too many", "n", False),
        ({"detail": ["odd"]}, None, None, False),
        (b"<html>", None, None, False),
        (b'{"error": {"message": "\xff\xfe"}}', None, None, False),
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


@pytest.mark.parametrize(
    ("said", "type_", "code"),
    [
        ({"message": "m"}, "invalid_request_error", "invalid_request"),
        ({"message": "m", "type": "BadRequestError", "code": 400}, "BadRequestError", None),
        ({"message": "m", "type": "t", "code": "unsupported_value"}, "t", "unsupported_value"),
        ({"message": "m", "type": 5, "code": ["c"]}, "invalid_request_error", "invalid_request"),
        ({"message": "max_model_len=5", "type": "t", "code": 400}, "t", "context_length_exceeded"),
        ({"message": "m", "code": "context_length_exceeded"}, None, "context_length_exceeded"),
        ({"message": "m", "type": "t" * 201}, "invalid_request_error", None),
    ],
)
def test_a_server_s_names_for_an_error_stay(said: Any, type_: str | None, code: str | None) -> None:
    refusal = read_refusal(400, json.dumps({"error": said}).encode())
    error = json.loads(error_body(refusal))["error"]
    assert error["type"] == (type_ or "invalid_request_error")
    assert error["code"] == (code or "invalid_request")
    assert refusal.is_too_long is (code == "context_length_exceeded")


def test_an_endless_message_ends_at_a_word() -> None:
    words = "word " * 2500 + "k"
    refusal = read_refusal(400, json.dumps({"error": {"message": words}}).encode())
    assert len(refusal.message) <= MAX_MESSAGE_CHARACTERS
    assert refusal.message.endswith("word")
    key = "k" * 20_000  # of which no half is told
    refusal = read_refusal(400, json.dumps({"error": {"message": key}}).encode())
    assert refusal.message == "The model server refused the request."
