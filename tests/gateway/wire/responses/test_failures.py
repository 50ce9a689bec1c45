"""How a response's stream ends that fails, whatever of it is out."""

import json

import pytest

from gateway.errors import GatewayError, RequestError, UpstreamRefused, UpstreamUnavailable
from gateway.wire.chunk import decode
from gateway.wire.responses.wire import ResponsesWire
from tests.fakes.chunks import chunk
from tests.fakes.responses import asked, events_in, kinds


def test_a_stream_that_breaks_off_says_how_far_it_came_and_why() -> None:
    request = asked(stream=True)
    out = request.editor().edit(decode(chunk({"content": "Par"})))
    out += request.error_event(UpstreamUnavailable("It is away."), "r")
    *_, failed, error = events_in(out)
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "It is away."}
    assert failed["response"]["id"] == "resp_1"
    (item,) = failed["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Par")
    assert error["type"] == "error"
    assert error["error"].items() >= {"message": "It is away.", "param": None}.items()
    assert {name: error[name] for name in ("message", "code")} == {
        "message": "It is away.",
        "code": "upstream_unavailable",
    }


def test_an_error_before_the_stream_has_openais_form() -> None:
    wire = ResponsesWire(new_id=lambda: "1", now=lambda: 5.0)
    assert json.loads(wire.error_body(RequestError("Wrong.", param="input"), "r")) == {
        "error": {
            "message": "Wrong.",
            "type": "invalid_request_error",
            "param": "input",
            "code": "invalid_request",
        }
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamUnavailable("Away."), "server_error"),
        (RequestError("Wrong."), "invalid_prompt"),
        (UpstreamRefused("Busy.", param=None, upstream_status=429, is_too_long=False),
         "rate_limit_exceeded"),
    ],
)  # fmt: skip
def test_a_response_that_failed_has_one_of_openais_codes(error: GatewayError, code: str) -> None:
    _, _, failed, _ = events_in(asked(stream=True).error_event(error, "r"))
    assert failed["response"]["error"]["code"] == code


def test_a_stream_that_fails_before_its_first_event_has_a_beginning() -> None:
    refusal = UpstreamRefused("Long.", param="input", upstream_status=400, is_too_long=True)
    events = list(events_in(asked(stream=True).error_event(refusal, "r")))
    assert kinds(events) == ["created", "in_progress", "failed", "error"]
    assert events[2]["response"]["error"]["code"] == "invalid_prompt"
    assert events[3]["param"] == events[3]["error"]["param"] == "input"
