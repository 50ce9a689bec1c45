"""Replies recorded from real servers, through a real gateway: what the client sees of them.

Field by field: only those that docs/endpoints.md calls the gateway's may differ.  (What vLLM says
of adapters that it loads, and of its health, passes through no gateway.)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from tests.fakes.documented_fields import (
    STREAMED,
    WHOLE,
    documented_fields,
    is_documented_header,
    stream_for_client,
    whole_for_client,
)
from tests.fakes.recordings import CHAT, RECORDINGS, TEXT, Recording, missing, models, recordings
from tests.fakes.script import Pieces, Stop
from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import Reply, tokens

FOUR_KEYS = {"message", "type", "param", "code"}
ROUTES = {
    "/v1/embeddings": "embeddings",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
    "/score": "score",
}
POOLING = [("embeddings", "/v1/embeddings"), ("score", "/score")]
SAID = ("message", "type", "param")
BLAMING = (400, 413, 415, 422)
RIVAL = {"?": -20.0}
ADAPTER = (*models("vllm-lora"), "student", "adapter")[1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Every draft is kept, however unsure: the replies of a tiny model are not what is tested.
    keep_all = {"objective": {"kind": "confidence", "at_least": 0.0}}
    others = {"adapted": keep_all | {"student": {"model": ADAPTER}}}
    passed = {"passed": {"serves": list(ROUTES.values())}}
    folder = tmp_path_factory.mktemp("recorded")
    with stage(folder, cascade=keep_all, others=others, models=passed) as built:
        yield built


def replayed(scene: Stage, asked: Recording, reply: Reply, teacher: Reply) -> httpx.Response:
    """What a client gets that asks as the recording's did, of servers with these replies."""
    scene.student.reply, scene.teacher.reply = reply, teacher
    scene.student.requests.clear()
    for upstream in scene.gateway.models:
        upstream.breaker.succeeded()
    if asked.raw is not None:
        headers = {"content-type": "application/json"}
        return scene.client.post(asked.path, content=asked.raw, headers=headers)
    return scene.client.post(asked.path, json=asked.request)


FAILING = Reply(status=500)


def with_evidence(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event as the server would have sent it to the gateway, which asks how sure it was.

    The recordings' clients did not all ask, or not for a second candidate.
    """
    return {**event, "choices": [_sure(choice) for choice in event["choices"]]}


def _sure(choice: Mapping[str, Any]) -> dict[str, Any]:
    said = choice.get("message") or choice.get("delta") or {}
    text = choice.get("text") or said.get("content")
    logprobs = choice.get("logprobs")
    if text and logprobs is None:
        one = {"tokens": [text], "token_logprobs": [-0.01], "top_logprobs": [{text: -0.01}]}
        logprobs = one | {"text_offset": [0]} if "text" in choice else {"content": tokens(text)}
    if logprobs is None:
        return dict(choice)
    if "content" in logprobs:
        logprobs = logprobs | {
            "content": [_with_rival(entry) for entry in logprobs["content"] or ()]
        }
    else:
        tops = [RIVAL | (top or {}) for top in logprobs["top_logprobs"]]
        logprobs = logprobs | {"top_logprobs": tops}
    return {**choice, "logprobs": logprobs}


def _with_rival(entry: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in entry.items() if key != "top_logprobs"}
    rivals = [{"token": token, "logprob": logprob} for token, logprob in RIVAL.items()]
    tops = entry["top_logprobs"] or [own]
    return {**own, "top_logprobs": tops if len(tops) > 1 else [*tops, *rivals]}


def streamed(events: Sequence[Mapping[str, Any]]) -> Reply:
    """A server that streams these."""
    frames = [b"data: %s\n\n" % json.dumps(event).encode() for event in events]
    return Reply(steps=[Pieces(frames), Stop()])


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that ends as it should."""
    *blocks, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def is_the_students(said: Mapping[str, Any]) -> None:
    """Kept, but for drafts of a tiny model that are not in the form that was asked for."""
    assert said["served_by"] == "student"
    assert (said["degraded"] is None) is (said["reason"] != "invalid_structure")


def told_by_headers(response: httpx.Response) -> dict[str, str | None]:
    names = ("served-by", "degraded", "reason")
    return {name.replace("-", "_"): response.headers.get(f"x-understudy-{name}") for name in names}


def test_what_is_compared_is_what_is_documented() -> None:
    assert documented_fields() == list(WHOLE) == list(STREAMED)


@pytest.mark.parametrize(
    "recorded",
    recordings(lambda one: one.path in (CHAT, TEXT) and one.status == 200 and not one.is_stream),
)
def test_a_recorded_answer_reaches_the_client_unchanged(scene: Stage, recorded: Recording) -> None:
    asked = recorded.of("assistant")
    sent = with_evidence(recorded.said)
    response = replayed(scene, asked, Reply(body=sent), FAILING)
    if not scene.student.requests:  # servers accept what OpenAI and the gateway refuse
        assert response.status_code == 400
        assert set(response.json()["error"]) == FOUR_KEYS
        return
    assert response.status_code == 200
    assert response.json() == whole_for_client(sent, asked.request)
    is_the_students(told_by_headers(response))
    assert all(map(is_documented_header, response.headers))


@pytest.mark.parametrize(
    "recorded",
    recordings(
        lambda one: (
            one.path in (CHAT, TEXT)
            and (one.is_stream and one.status == 200 and one.request.get("n", 1) == 1)
        )
    ),
)
def test_every_event_of_a_recorded_stream_reaches_the_client_unchanged(
    scene: Stage, recorded: Recording
) -> None:
    asked = recorded.of("assistant")
    sent = [with_evidence(event) for event in recorded.events]
    response = replayed(scene, asked, streamed(sent), FAILING)
    assert response.status_code == 200
    events = events_of(response)
    is_the_students(events[-1].pop("understudy"))
    assert events == stream_for_client(sent, asked.request)
    assert all(map(is_documented_header, response.headers))


@pytest.mark.parametrize(
    "recorded", recordings(lambda one: one.request.get("n", 1) > 1 and not one.is_stream)
)
def test_a_stream_of_several_recorded_answers_says_what_they_say(
    scene: Stage, recorded: Recording
) -> None:
    """Servers are asked for them whole, so their own streams of several pass through nothing."""
    asked = recorded.of("assistant")
    asked = Recording(**{**vars(asked), "request": {**asked.request, "stream": True}})
    reply = Reply(body=with_evidence(recorded.said))
    events = events_of(replayed(scene, asked, reply, FAILING))
    choices = [choice for event in events for choice in event["choices"]]
    for expected in recorded.said["choices"]:
        own = [choice for choice in choices if choice["index"] == expected["index"]]
        texts = [choice["delta"].get("content") or "" for choice in own]
        assert "".join(texts) == expected["message"]["content"]
        assert own[-1]["finish_reason"] == expected["finish_reason"]
    assert {event["id"] for event in events} == {recorded.said["id"]}


@pytest.mark.parametrize(
    "recorded", recordings(lambda one: one.path in (CHAT, TEXT) and one.status >= 400)
)
def test_a_recorded_refusal_reaches_the_client_in_openai_s_form(
    scene: Stage, recorded: Recording
) -> None:
    failing = Reply(status=recorded.status, body=recorded.body)
    response = replayed(scene, recorded.of("assistant"), failing, failing)
    error = response.json()["error"]
    assert set(error) == FOUR_KEYS
    assert all(map(is_documented_header, set(response.headers) - {"retry-after"}))
    if recorded.status not in BLAMING:
        assert (response.status_code, error["code"]) == (503, "teacher_unavailable")
        assert response.headers["retry-after"]
        return
    assert response.status_code == recorded.status
    if not scene.student.requests:  # the gateway has its own words for it, and names the place
        assert error["type"] == "invalid_request_error"
        assert error["param"] or recorded.raw
        return
    said = {"param": None, **recorded.said["error"]}
    assert [error[name] for name in SAID] == [said[name] for name in SAID]
    is_too_long = any(mark in recorded.name for mark in ("too_long", "too_big"))
    assert error["code"] == ("context_length_exceeded" if is_too_long else "invalid_request")


@pytest.mark.parametrize("recorded", recordings(lambda one: one.path in ROUTES))
def test_what_passes_to_one_model_comes_back_unchanged(scene: Stage, recorded: Recording) -> None:
    reply = Reply(status=recorded.status, body=recorded.body)
    response = replayed(scene, recorded.of("passed"), FAILING, reply)
    if recorded.status == 200:
        assert response.json() == recorded.said
    else:  # the server does not have that: a mistake of the gateway's operator
        assert response.status_code == 502
        assert set(response.json()["error"]) == FOUR_KEYS
    assert all(map(is_documented_header, response.headers))


@pytest.mark.parametrize(("name", "path"), POOLING)
def test_what_a_pooling_server_says_comes_back_unchanged(
    scene: Stage, name: str, path: str
) -> None:
    file = RECORDINGS / f"vllm-embed/{name}.json"
    if not file.exists():
        pytest.skip(str(missing.kwargs["reason"]))
    asked = Recording(name, path, {"model": "passed", "input": "a"}, 200, file.read_bytes())
    response = replayed(scene, asked, FAILING, Reply(body=asked.body))
    assert response.json() == asked.said | {"model": "passed"}


@pytest.mark.parametrize(
    "recorded",
    recordings(lambda one: one.name in ("vllm-0.32.0/chat_plain", "vllm-0.32.0/stream_usage")),
)
def test_an_adapter_answers_under_the_cascades_name(scene: Stage, recorded: Recording) -> None:
    asked, own = recorded.of("adapted"), {"model": ADAPTER}
    if recorded.is_stream:
        chunks = [with_evidence(event | own) for event in recorded.events]
        events = events_of(replayed(scene, asked, streamed(chunks), FAILING))
        is_the_students(events[-1].pop("understudy"))
        assert events == stream_for_client(chunks, asked.request)
    else:
        sent = with_evidence(recorded.said | own)
        response = replayed(scene, asked, Reply(body=sent), FAILING)
        assert response.json() == whole_for_client(sent, asked.request)
    assert scene.student.requests[-1]["model"] == ADAPTER


def crashed() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The chunks of a stream during which the engine died, and vLLM's last word."""
    path = RECORDINGS / "vllm-crash/crash_inflight_stream.txt"
    if not path.exists():
        pytest.skip(str(missing.kwargs["reason"]))
    lines = [line[6:] for line in path.read_text().splitlines() if line.startswith("data: {")]
    *chunks, last = map(json.loads, lines)
    return chunks, last


def test_a_stream_whose_engine_died_ends_in_an_error_that_tells_nothing(scene: Stage) -> None:
    chunks, last = crashed()
    request: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}], "stream": True}
    asked = Recording("crash", CHAT, request, 200, b"").of("assistant")
    sent = [with_evidence(chunk) for chunk in chunks]
    *events, failure = events_of(replayed(scene, asked, streamed([*sent, last]), FAILING))
    assert events == stream_for_client(sent, asked.request)
    assert set(failure["error"]) == FOUR_KEYS
    assert failure["error"]["code"] == "upstream_failed"
    assert "EngineCore" not in failure["error"]["message"]
