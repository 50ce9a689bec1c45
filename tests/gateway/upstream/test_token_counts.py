import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from gateway.errors import CannotCount, UpstreamRefused, UpstreamUnavailable
from gateway.upstream.openai import Endpoint
from gateway.upstream.token_counts import TokenCounter
from gateway.wire.chat import Dialect
from gateway.wire.messages.request import parse_request
from tests.fakes.counting import CountingServer
from tests.fakes.serving import closed_port_url, serving

OWN, TOKENIZE = "/v1/messages/count_tokens", "/tokenize"
VLLM = {TOKENIZE: (200, {"count": 42, "max_model_len": 2048, "tokens": [1], "token_strs": None})}
# Its other route takes a text and knows no messages.
LLAMA_CPP = {TOKENIZE: (200, {"tokens": []}), OWN: (200, {"input_tokens": 41})}
FIELDS = {
    "model": "assistant",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hi."}],
}
REQUEST = parse_request(json.dumps(FIELDS).encode(), None, is_count=True)


def endpoint(url: str, extra: Mapping[str, Any] | None = None) -> Endpoint:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in (extra or {}).items()}
    return Endpoint(
        base_url=f"{url}/v1",
        api_key="secret",
        dialect=Dialect("student", is_evidence_wanted=True, has_running_usage=False, extra=raw),
        max_concurrent=1,
        timeout_seconds=5,
    )


async def test_the_very_chat_is_counted_where_the_server_can() -> None:
    server = CountingServer(VLLM)
    with serving(server) as url:
        extra = {"chat_template_kwargs": {"x": 1}, "timings_per_token": True}
        assert await TokenCounter([endpoint(url, extra)]).count(REQUEST) == 42
    ((path, body),) = server.asked
    assert path == TOKENIZE
    assert body == {
        "model": "student",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi."},
        ],
        "chat_template_kwargs": {"x": 1},
    }
    assert server.keys == ["Bearer secret"]


async def test_elsewhere_the_request_is_counted_as_it_came() -> None:
    server = CountingServer(LLAMA_CPP)
    with serving(server) as url:
        counter = TokenCounter([endpoint(url)])
        assert [await counter.count(REQUEST) for _ in range(2)] == [41, 41]
    # The second time the way is known.
    assert [path for path, _ in server.asked] == [TOKENIZE, OWN, OWN]
    assert server.asked[-1][1] == FIELDS | {"model": "student"}


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_that_counts_by_no_route(status: int) -> None:
    replies: dict[str, Any] = {TOKENIZE: (status, {}), OWN: (status, {})}
    with serving(CountingServer(replies)) as url, pytest.raises(CannotCount):
        await TokenCounter([endpoint(url)]).count(REQUEST)


@pytest.mark.parametrize("reply", [b"", b"[1]", b'{"count":"many"}', b'{"count":null}', b"<html>"])
async def test_what_is_no_count_is_none(reply: bytes) -> None:
    with serving(CountingServer({TOKENIZE: (200, reply)})) as url, pytest.raises(CannotCount):
        await TokenCounter([endpoint(url)]).count(REQUEST)


async def test_a_server_that_blames_the_request() -> None:
    replies = {TOKENIZE: (400, {"error": {"message": "No such role.", "param": "messages"}})}
    with (
        serving(CountingServer(replies)) as url,
        pytest.raises(UpstreamRefused, match="No such role"),
    ):
        await TokenCounter([endpoint(url)]).count(REQUEST)


async def test_another_server_is_asked_in_place_of_one_that_is_away() -> None:
    away = endpoint(closed_port_url())
    with serving(CountingServer(VLLM)) as url:
        assert await TokenCounter([away, endpoint(url)]).count(REQUEST) == 42
    with pytest.raises(UpstreamUnavailable):
        await TokenCounter([away]).count(REQUEST)
