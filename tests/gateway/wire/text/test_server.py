"""How servers are asked to go on from a prompt, and what is read of their replies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chat import Dialect, Prefix
from gateway.wire.server import SERVER_FORMS
from gateway.wire.text.reply import TextWire
from gateway.wire.text.request import parse_text
from gateway.wire.text.server import chunk_as_chat, reply_as_chat, text_body, text_stream_body
from tests.fakes.texts import chat_lists, choice_of, text_reply

DIALECT = Dialect("up", is_evidence_wanted=True, has_running_usage=True, extra={})


def asked(**changes: Any) -> Any:
    chat, _, _ = parse_text(json.dumps({"model": "a", "prompt": "Once "} | changes).encode())
    return chat


@pytest.mark.parametrize(("wanted", "sent"), [(None, 2), (0, 2), (1, 2), (5, 5)])
def test_log_probabilities_are_asked_for_as_few_as_suffice(wanted: int | None, sent: int) -> None:
    changes = {} if wanted is None else {"logprobs": wanted}
    fields = json.loads(text_body(asked(**changes), DIALECT))
    assert fields == {"model": "up", "prompt": "Once ", "logprobs": sent}


def test_a_model_whose_evidence_nobody_reads_is_asked_as_the_client_asked() -> None:
    silent = Dialect("up", is_evidence_wanted=False, has_running_usage=False, extra={})
    assert "logprobs" not in json.loads(text_body(asked(), silent))
    streamed = json.loads(text_stream_body(asked(stream=True), silent, None))
    assert streamed["stream_options"] == {"include_usage": True}


def test_another_model_goes_on_behind_the_prompt_with_the_tokens_that_are_left() -> None:
    chat = asked(stream=True, max_tokens=10, min_tokens=2)
    fields = json.loads(text_stream_body(chat, DIALECT, Prefix("upon a ", 3)))
    assert fields["prompt"] == "Once upon a"
    assert (fields["max_tokens"], fields["min_tokens"]) == (7, 0)
    assert fields["stream_options"]["continuous_usage_stats"] is True


def test_both_ways_to_tell_of_log_probabilities_are_the_same_evidence() -> None:
    choice = choice_of("upon", " a", " time")
    read = SERVER_FORMS[asked().form].reply
    ours = read(json.dumps(text_reply(choice)).encode())
    theirs = read(json.dumps(text_reply(chat_lists(choice))).encode())
    for completion in (ours, theirs):
        logprobs = completion.choices[0].logprobs
        assert logprobs is not None
        assert [token.logprob for token in logprobs.content or ()] == [-0.01] * 3
        assert completion.choices[0].message.content == "upon a time"


@pytest.mark.parametrize(
    "logprobs",
    [None, 5, {"tokens": ["a"]}, {"tokens": ["a"], "token_logprobs": [None]}, {"tokens": 5}, {}],
)
def test_log_probabilities_that_cannot_be_read_are_no_evidence(logprobs: object) -> None:
    reply = text_reply(choice_of("upon", logprobs=logprobs))
    (choice,) = json.loads(reply_as_chat(json.dumps(reply).encode()))["choices"]
    assert not (choice["logprobs"] or {}).get("content")


@pytest.mark.parametrize("body", [b"[]", b"5", b"{", b'{"choices": 5}', b'{"choices": [5]}'])
def test_what_is_no_completion_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SERVER_FORMS[asked().form].reply(body)


def test_an_event_that_is_no_chunk_is_left_as_it_is() -> None:
    error = b'{"error": {"message": "dead"}}'
    assert chunk_as_chat(error) == error


@given(st.lists(st.tuples(st.text(max_size=4), st.floats(-9, 0)), max_size=6), st.integers(0, 3))
def test_what_a_server_told_reaches_the_client_in_the_same_lists(
    told: list[tuple[str, float]], most: int
) -> None:
    texts = [text for text, _ in told]
    choice = choice_of(*texts)
    choice["logprobs"]["token_logprobs"] = [logprob for _, logprob in told]
    choice["logprobs"]["top_logprobs"] = [{text: logprob} for text, logprob in told]
    request = json.dumps({"model": "a", "prompt": "p", "logprobs": most}).encode()
    completion = SERVER_FORMS[asked().form].reply(json.dumps(text_reply(choice)).encode())
    answer = json.loads(TextWire().read(request, None).whole(completion))
    assert answer["choices"] == [choice]
    assert answer["object"] == "text_completion"


@pytest.mark.parametrize("index", [-3, 0, 99])
def test_an_index_that_no_prompt_has_is_no_crash(index: int) -> None:
    request = json.dumps({"model": "a", "prompt": ["One", "Two"], "echo": True}).encode()
    reply = json.dumps(text_reply(choice_of("!", index=index))).encode()
    completion = SERVER_FORMS[asked().form].reply(reply)
    answer = json.loads(TextWire().read(request, None).whole(completion))
    assert answer["choices"][0]["text"] in ("One!", "Two!")
