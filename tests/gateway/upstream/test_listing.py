"""What lists of models, recorded and made up, say of a model's context."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import UpstreamMisconfigured, UpstreamUnreachable
from gateway.upstream.listing import ask_for_room, room_in
from gateway.upstream.openai import Endpoint
from gateway.wire.chat import Dialect
from routing.room import Room
from tests.fakes.recordings import RECORDINGS, missing
from tests.fakes.serving import closed_port_url, serving
from tests.fakes.upstream import ScriptedModel

VLLM = Room(2048, is_answer_counted=True)
RECORDED = [
    ("vllm-0.32.0", "student", VLLM),
    ("vllm-0.32.0", "nope", None),
    ("vllm-lora", "student-v2", VLLM),  # an adapter, whose own length is null
    ("xllamacpp", "student", Room(8192, is_answer_counted=False)),
]


@pytest.mark.parametrize(("folder", "model", "expected"), RECORDED)
def test_recorded_lists_tell_the_context(folder: str, model: str, expected: Room | None) -> None:
    path = RECORDINGS / folder / "models.json"
    if not path.exists():
        pytest.skip(str(missing.kwargs["reason"]))
    assert room_in(path.read_bytes(), model) == expected


def listing(**entry: Any) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": "m", **entry}]}).encode()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data": null}',
        b'{"data": [{"id": 1}]}',
        b"[" * 10_000,
        listing(),
        listing(max_model_len=None),
        listing(max_model_len=0),
        listing(max_model_len="2048"),
        listing(meta={"n_ctx_train": 8192}),
        listing(parent="m"),
        listing(parent="gone"),
    ],
)
def test_whatever_says_nothing_is_nothing(said: bytes) -> None:
    assert room_in(said, "m") is None


def test_a_model_has_its_other_names_too() -> None:
    said = listing(aliases=["also"], meta={"n_ctx": 512})
    assert room_in(said, "also") == Room(512, is_answer_counted=False)


def endpoint_at(url: str, **extra: Any) -> Endpoint:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in extra.items()}
    dialect = Dialect(model="m", is_evidence_wanted=True, has_running_usage=False, extra=raw)
    return Endpoint(url + "/v1", "the-key", dialect, 8, 20.0)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, VLLM),
        ({"max_tokens": 64}, Room(2048, is_answer_counted=False)),
        ({"truncate_prompt_tokens": -1}, None),
    ],
)
async def test_what_the_operator_sets_of_each_request_counts(
    extra: dict[str, Any], expected: Room | None
) -> None:
    server = ScriptedModel()
    server.listing = json.loads(listing(max_model_len=2048))
    with serving(server) as url:
        assert await ask_for_room(endpoint_at(url, **extra)) == expected
    assert server.requests == []


async def test_a_server_that_has_no_list_or_is_not_there_is_a_fault() -> None:
    with serving(ScriptedModel()) as url, pytest.raises(UpstreamMisconfigured):
        await ask_for_room(endpoint_at(url))
    with pytest.raises(UpstreamUnreachable):
        await ask_for_room(endpoint_at(closed_port_url()))
