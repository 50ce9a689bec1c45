import json
from typing import Any

import pytest

from gateway.wire.chat import parse_chat
from gateway.wire.completion import read_completion
from gateway.wire.replay import replay
from tests.fakes.upstream import completion

SAID = {"served_by": "student"}


def chunks(body: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    question = {
        "model": "assistant",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    chat = parse_chat(json.dumps(question | changes).encode())
    stream = b"".join(replay(read_completion(json.dumps(body).encode()), chat, SAID))
    assert stream.endswith(b"\n\n")
    *events, done = stream.decode().removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_a_stream_has_a_role_chunk_content_and_a_finish() -> None:
    sent = chunks(completion("Paris."))
    assert [chunk["choices"][0]["delta"] for chunk in sent] == [
        {"role": "assistant", "content": ""},
        {"content": "Paris."},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in sent] == [None, None, "stop"]
    assert {chunk["object"] for chunk in sent} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in sent} == {"chatcmpl-1"}
    assert {chunk["model"] for chunk in sent} == {"assistant"}
    assert all("usage" not in chunk for chunk in sent)
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in sent)


def test_usage_comes_last_without_choices_where_it_is_asked_for() -> None:
    sent = chunks(completion(), stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in sent[:-1]] == [None] * 3
    assert sent[-1]["choices"] == []
    assert sent[-1]["usage"] == completion()["usage"]


@pytest.mark.parametrize("changes", [{}, {"stream_options": {"include_usage": True}}])
def test_the_last_chunk_tells_who_served(changes: dict[str, Any]) -> None:
    sent = chunks(completion(), **changes)
    assert sent[-1]["understudy"] == SAID
    assert all("understudy" not in chunk for chunk in sent[:-1])


def test_log_probabilities_come_with_the_content() -> None:
    sent = chunks(completion("Paris."), logprobs=True)
    with_logprobs = [chunk for chunk in sent if chunk["choices"][0]["logprobs"]]
    assert len(with_logprobs) == 1
    assert with_logprobs[0]["choices"][0]["delta"] == {"content": "Paris."}


def test_tool_calls_get_an_index() -> None:
    calls = [
        {"id": str(place), "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for place in range(2)
    ]
    message = {"tool_calls": calls}
    sent = chunks(completion(None, message=message, choice={"finish_reason": "tool_calls"}))
    delta = sent[1]["choices"][0]["delta"]
    assert delta == {"tool_calls": [{**call, "index": place} for place, call in enumerate(calls)]}
    assert sent[2]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_keep_their_index() -> None:
    body = completion()
    body["choices"].append({**body["choices"][0], "index": 1})
    assert [chunk["choices"][0]["index"] for chunk in chunks(body, n=2)] == [0, 0, 0, 1, 1, 1]


def test_a_reply_that_is_printed_over_many_lines_is_one_line_an_event() -> None:
    question = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
    wanted = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True}
    chat = parse_chat(json.dumps(question | wanted | {"top_logprobs": 2}).encode())
    body = json.dumps(completion("Paris."), indent=2).replace("\n", "\r\n")
    for event in b"".join(replay(read_completion(body.encode()), chat, SAID)).split(b"\n\n")[:-2]:
        json.loads(event.removeprefix(b"data: "))


def test_a_choice_without_an_index_gets_its_place() -> None:
    body = completion()
    del body["choices"][0]["index"]
    assert {chunk["choices"][0]["index"] for chunk in chunks(body)} == {0}


def test_an_empty_answer_is_a_role_and_a_finish() -> None:
    assert len(chunks(completion(""))) == 2


@pytest.mark.parametrize("message", [None, "Paris.", []])
def test_a_message_that_is_none_is_an_empty_answer(message: Any) -> None:
    reply = completion(choice={"message": message})
    assert [sent["choices"][0]["delta"] for sent in chunks(reply)] == [
        {"role": "assistant", "content": ""},
        {},
    ]


def test_tool_calls_that_cannot_be_read_stay_as_they_are() -> None:
    _, sent, _ = chunks(completion(None, message={"tool_calls": [5]}))
    assert sent["choices"][0]["delta"] == {"tool_calls": [5]}
