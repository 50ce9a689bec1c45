"""What of a request's time is the gateway's own, and how fast a stream flows, as it is counted."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message

from gateway.app import create_app
from tests.fakes.calling import call
from tests.fakes.script import ROLE, Words, finish, used
from tests.fakes.serving import Stage, cascade_document, closed_port_url, load_gateway, stage
from tests.fakes.trial import words
from tests.fakes.upstream import Reply

QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "?"}]}


async def test_a_client_that_sends_slowly_takes_none_of_the_gateways_time(tmp_path: Path) -> None:
    document = cascade_document(closed_port_url(), closed_port_url())
    gateway = load_gateway(tmp_path, document)
    passed = [0.0]
    gateway.context.clock = lambda: passed[0]
    body = json.dumps(QUESTION).encode()
    messages: list[Message] = [
        {"type": "http.request", "body": body[:40], "more_body": True},
        {"type": "http.request", "body": body[40:], "more_body": False},
    ]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # the client stays
        passed[0] += 20.0
        return messages.pop(0)

    response = await call(create_app(gateway), receive)
    assert response.status == 503  # neither model is to be had, which takes no time here
    read = gateway.context.observer.metrics.registry.get_sample_value
    labels = {"cascade": "assistant"}
    failed = labels | {"outcome": "failed"}
    assert read("understudy_request_seconds_sum", failed) == 40.0
    assert read("understudy_gateway_seconds_count", labels) == 1
    assert read("understudy_gateway_seconds_sum", labels) == 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as built:
        yield built


def test_tokens_of_the_hold_back_window_do_not_make_a_stream_look_fast(scene: Stage) -> None:
    pause = 0.02
    flowing = Words(words(10, "r"), seconds_each=pause)
    scene.student.reply = Reply(steps=(ROLE, Words(words(16)), flowing, *finish(usage=used(26))))
    assert scene.ask(stream=True).status_code == 200
    name = "understudy_time_per_output_token_seconds"
    assert scene.metric(f"{name}_count", cascade="assistant") == 1
    # Over all tokens but one it would be 8 ms; a busy machine makes it longer, never shorter.
    assert scene.metric(f"{name}_sum", cascade="assistant") >= 0.95 * pause
    assert scene.metric("understudy_first_byte_seconds_count", cascade="assistant", outcome="kept")
