"""What is read of a completion request, and which are refused."""

import json
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.wire.chat import Form
from gateway.wire.text.request import parse_text


def body(**changes: Any) -> bytes:
    return json.dumps({"model": "assistant", "prompt": "Once upon"} | changes).encode()


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Once upon", ["Once upon"]),
        (["Once upon"], ["Once upon"]),
        (["One", "Two"], ["One", "Two"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_a_prompt_comes_in_any_of_four_forms(prompt: object, prompts: list[object]) -> None:
    chat, found, _ = parse_text(body(prompt=prompt, n=2))
    assert list(found) == prompts
    assert chat.choices == 2 * len(prompts)
    assert chat.form is Form.TEXT


def test_a_lone_prompt_goes_to_models_as_itself() -> None:
    chat, _, _ = parse_text(body(prompt=["Once upon"], echo=True))
    assert bytes(chat.fields["prompt"]) == b'"Once upon"'
    assert "echo" not in chat.fields


@pytest.mark.parametrize(
    ("prompt", "place"), [("Once", None), ([1, 2], "prompt"), ([[1]], "prompt")]
)
def test_token_ids_are_told_apart_from_text(prompt: object, place: str | None) -> None:
    chat, _, _ = parse_text(body(prompt=prompt))
    assert chat.token_ids_in == place
    assert chat.can_go_on is (place is None)


def test_a_prompt_is_taken_for_a_user_s_words_where_a_conversation_is_needed() -> None:
    chat, _, _ = parse_text(body())
    assert json.loads(bytes(chat.messages)) == [{"role": "user", "content": "Once upon"}]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["One", 2]}, "prompt"),
        ({"prompt": [[1], "Two"]}, "prompt"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt"),
        ({"prompt": ["a"] * 65, "best_of": 2}, "prompt"),
        ({"best_of": 129}, "best_of"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"echo": True, "prompt": [1, 2]}, "echo"),
        ({"priority": 1}, "priority"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_text(body(**changes))
    assert caught.value.param == param


def test_so_many_answers_are_just_allowed() -> None:
    chat, _, _ = parse_text(body(prompt=["a"] * 64, n=2, logprobs=20))
    assert chat.choices == 128


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(RequestError, match="Missing required parameter: 'prompt'"):
        parse_text(b'{"model": "assistant"}')
