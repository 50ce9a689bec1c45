"""What of a reply reaches the client: its bytes, but for what only the gateway had asked for."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given as holds_for

from gateway.wire.chat import Chat, parse_chat
from gateway.wire.client_reply import client_body, client_fields
from gateway.wire.completion import read_completion
from tests.fakes.mutations import nearly, replies
from tests.fakes.upstream import completion, tokens


def asked(**changes: Any) -> Chat:
    question = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
    return parse_chat(json.dumps(question | changes).encode())


def given(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    reply = client_body(read_completion(json.dumps(body).encode()), asked(**changes))
    decoded: dict[str, Any] = json.loads(reply)
    return decoded


@pytest.mark.parametrize("logprobs", [{"content": None}, {"content": None, "refusal": []}, {}])
def test_parts_of_asked_for_log_probabilities_may_be_null(logprobs: dict[str, Any]) -> None:
    body = given(completion(choice={"logprobs": logprobs}), logprobs=True)
    assert body["choices"][0]["logprobs"] == logprobs


def test_candidates_are_trimmed_wherever_they_stand() -> None:
    entry = tokens("no")[0]
    logprobs = {"content": [entry | {"top_logprobs": None}], "refusal": [entry]}
    body = given(completion(choice={"logprobs": logprobs}), logprobs=True, top_logprobs=1)
    given_logprobs = body["choices"][0]["logprobs"]
    assert given_logprobs["content"][0]["top_logprobs"] == []
    assert len(given_logprobs["refusal"][0]["top_logprobs"]) == 1


def test_log_probabilities_are_taken_out_unless_the_client_asked() -> None:
    body = given(completion())
    assert body["choices"][0]["logprobs"] is None
    assert body["model"] == "assistant"


def test_bytes_that_the_client_gets_unchanged_are_the_servers() -> None:
    reply = (
        b'{ "id": "1", "x": 1e400, "choices": [ {"index": 0, "message": {"content": "Paris."},\n'
        b'"logprobs": {"content": [{"token": "Paris.", "logprob": -0.1}]}} ], "model" : "m" }'
    )
    assert client_body(read_completion(reply), asked()) == (
        b'{ "id": "1", "x": 1e400, "choices": [ {"index": 0, "message": {"content": "Paris."},\n'
        b'"logprobs": null} ], "model" : "assistant" }'
    )


@pytest.mark.parametrize(
    ("place", "named"), [("id", "upstream"), ("object", "upstream"), ("id", "assistant")]
)
def test_only_the_models_name_is_changed_wherever_else_it_stands(place: str, named: str) -> None:
    body = completion("Paris.") | {"model": named, place: named}
    assert given(body)["model"] == "assistant"
    assert given(body)[place] == named


def test_log_probabilities_that_stand_elsewhere_too_are_taken_out_of_the_choice() -> None:
    (choice,) = completion("Paris.")["choices"]
    body = {"echo": choice["logprobs"]} | completion("Paris.")
    assert given(body)["choices"][0]["logprobs"] is None
    assert given(body)["echo"] == choice["logprobs"]


@pytest.mark.parametrize("model", [1, 7, None, [1], {}])
def test_a_models_name_that_is_no_text_is_replaced_too(model: Any) -> None:
    body = completion("1 7 null [1] {}") | {"model": model}
    (choice,) = body["choices"]
    told = {"model": "assistant", "choices": [choice | {"logprobs": None}]}
    assert given(body) == body | told


def is_written_anew(reply: bytes) -> bool:
    """Whether it is, and comes to the same: what is cut keeps the blanks between its tokens."""
    assert b", " in reply
    body = client_body(read_completion(reply), asked())
    assert body.count(b'"assistant"') == 1
    assert b'"logprob"' not in body
    return b", " not in body


@pytest.mark.parametrize(("choices", "is_anew"), [(1, False), (2, True)])
def test_a_reply_of_several_choices_is_written_anew(choices: int, is_anew: bool) -> None:
    choice = b'{"message": {}, "logprobs": {"content": [{"token": "a", "logprob": -1}]}}'
    listed = b", ".join([choice] * choices)
    assert is_written_anew(b'{"model": "m", "choices": [%b]}' % listed) is is_anew


@pytest.mark.parametrize(("alike", "is_anew"), [(0, False), (100, True)])
def test_no_reply_is_compared_as_often_as_a_server_likes(alike: int, is_anew: bool) -> None:
    name = b'"' + b'\\"' * 30  # as it goes on, it begins again with each of its quotes
    reply = b'{"id": %b", "model": %bm", "choices": [{"message": {}, "logprobs": null}]}'
    assert is_written_anew(reply % (name + b'\\"' * alike, name)) is is_anew


@holds_for(nearly(replies()))
def test_cutting_a_reply_comes_to_the_same_as_writing_it_anew(body: bytes) -> None:
    try:
        reply = read_completion(body)
    except (ValueError, RecursionError):
        return
    anew = msgspec.json.encode(client_fields(reply, asked()))
    assert json.loads(client_body(reply, asked())) == json.loads(anew)


@pytest.mark.parametrize(("asked_for", "left"), [(None, 0), (0, 0), (1, 1), (2, 2), (5, 2)])
def test_the_client_gets_as_many_candidates_as_it_asked_for(
    asked_for: int | None, left: int
) -> None:
    changes = {} if asked_for is None else {"top_logprobs": asked_for}
    (choice,) = given(completion("Paris."), logprobs=True, **changes)["choices"]
    (entry,) = choice["logprobs"]["content"]
    assert entry["token"] == "Paris."
    assert entry["bytes"] == list(b"Paris.")
    assert len(entry["top_logprobs"]) == left


def test_log_probabilities_that_the_server_did_not_give_stay_null() -> None:
    body = given(completion(choice={"logprobs": None}), logprobs=True)
    assert body["choices"][0]["logprobs"] is None


def test_fields_that_nobody_here_knows_reach_the_client() -> None:
    body = completion(novelty={"a": [1, 2.50]}, choice={"matched_stop": 7})
    returned = given(body)
    assert returned["novelty"] == {"a": [1, 2.5]}
    assert returned["choices"][0]["matched_stop"] == 7
    assert returned["id"] == body["id"]
    assert returned["usage"] == body["usage"]
