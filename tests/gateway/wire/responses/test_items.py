"""Items of ``input`` become the messages of a chat; what cannot be one is named by its place."""

import json
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.wire.responses.request import parse_request

IMAGE = "data:image/png;base64,AAAA"
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}
CALLED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
}


def messages(given: Any, **more: Any) -> list[dict[str, Any]]:
    body = json.dumps({"model": "a", "input": given} | more).encode()
    made: list[dict[str, Any]] = json.loads(bytes(parse_request(body).chat.fields["messages"]))
    return made


def blamed(given: Any) -> str | None:
    with pytest.raises(RequestError) as caught:
        messages(given)
    assert caught.value.status == 400
    assert caught.value.param is None or f"'{caught.value.param}'" in caught.value.message
    return caught.value.param


def message(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def test_a_string_is_what_the_user_says() -> None:
    assert messages("What?") == [{"role": "user", "content": "What?"}]


def test_instructions_come_first() -> None:
    assert messages("What?", instructions="Be brief.")[0] == {
        "role": "system",
        "content": "Be brief.",
    }


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
def test_an_easy_message_is_a_message(role: str) -> None:
    assert messages([{"role": role, "content": "What?"}]) == [{"role": role, "content": "What?"}]


def test_a_single_text_is_a_string_and_several_are_parts() -> None:
    text = {"type": "input_text", "text": "What?"}
    assert messages([message("user", text)])[0]["content"] == "What?"
    parts = messages([message("user", text, text)])[0]["content"]
    assert parts == [{"type": "text", "text": "What?"}] * 2


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        (
            {"type": "input_image", "image_url": IMAGE},
            {"type": "image_url", "image_url": {"url": IMAGE}},
        ),
        (
            {"type": "input_image", "image_url": IMAGE, "detail": "low", "file_id": None},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        ),
        (
            {"type": "input_file", "file_data": "AAAA", "filename": "a.pdf"},
            {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
        ),
        (
            {"type": "input_file", "file_data": "AAAA"},
            {"type": "file", "file": {"file_data": "AAAA"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        ),
        ({"type": "refusal", "refusal": "No."}, {"type": "refusal", "refusal": "No."}),
    ],
)
def test_a_part_has_its_like_in_a_chat(part: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert messages([message("user", part)])[0]["content"] == [becomes]


def test_a_turn_of_tools_is_one_message_and_the_tools() -> None:
    given = [
        {"role": "user", "content": "Weather?"},
        THOUGHT,
        message("assistant", output_text("I look.")),
        CALL,
        CALL | {"call_id": "c2"},
        OUTPUT,
        OUTPUT | {"call_id": "c2"},
    ]
    assert messages(given) == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [CALLED, CALLED | {"id": "c2"}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "sunny"},
    ]


def test_each_turn_has_a_message_of_its_own() -> None:
    given = ["Weather?", [THOUGHT, CALL, OUTPUT], [CALL, OUTPUT]]
    items = [{"role": "user", "content": given[0]}, *given[1], *given[2]]
    assert [one["role"] for one in messages(items)[1:]] == ["assistant", "tool"] * 2
    assert "reasoning_content" not in messages(items)[3]


def test_text_joins_the_calls_before_it() -> None:
    made = messages([CALL, message("assistant", output_text("I look.")), OUTPUT])
    assert made[0] == {"role": "assistant", "content": "I look.", "tool_calls": [CALLED]}


def test_two_answers_in_a_row_stay_two() -> None:
    answers = [message("assistant", output_text(text)) for text in ("One.", "Two.")]
    assert [one["content"] for one in messages(answers)] == ["One.", "Two."]


def test_what_a_tool_says_may_have_parts() -> None:
    parts = [{"type": "input_text", "text": "A map:"}, {"type": "input_image", "image_url": IMAGE}]
    assert messages([CALL, OUTPUT | {"output": parts}])[1]["content"] == [
        {"type": "text", "text": "A map:"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]


def test_a_summary_stands_in_for_reasoning_that_is_not_there() -> None:
    summary = [{"type": "summary_text", "text": "Thought."}]
    thought = {"type": "reasoning", "id": "rs_1", "summary": summary}
    assert messages([thought, CALL])[0]["reasoning_content"] == "Thought."


@pytest.mark.parametrize("thought", [THOUGHT, {"type": "reasoning", "encrypted_content": "x"}])
def test_reasoning_without_an_answer_or_without_words_is_left_out(thought: dict[str, Any]) -> None:
    question = {"role": "user", "content": "What?"}
    assert messages([thought, question]) == [question]


def test_reasoning_is_not_carried_to_the_next_turn() -> None:
    made = messages([THOUGHT, {"role": "user", "content": "What?"}, CALL])
    assert "reasoning_content" not in made[1]


def test_encrypted_reasoning_says_nothing() -> None:
    made = messages([{"type": "reasoning", "summary": [], "encrypted_content": "x"}, CALL])
    assert made == [{"role": "assistant", "content": None, "tool_calls": [CALLED]}]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([], "input"),
        (7, "input"),
        (None, "input"),
        (["What?"], "input[0]"),
        ([{}], "input[0].type"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "tool", "content": "a"}], "input[0].role"),
        ([{"role": "user", "content": 7}], "input[0].content"),
        (
            [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "x"}],
            "input[1].type",
        ),
        ([{"type": "computer_call"}], "input[0].type"),
        ([{"role": "user", "content": [{"text": "a"}]}], "input[0].content[0].type"),
        ([message("user", {"type": "input_text"})], "input[0].content[0].text"),
        ([message("user", {"type": "input_text", "text": 1})], "input[0].content[0].text"),
        (
            [message("user", output_text("a"), {"type": "input_video"})],
            "input[0].content[1].type",
        ),
        (
            [message("user", {"type": "input_image", "file_id": "f"})],
            "input[0].content[0].file_id",
        ),
        ([message("user", {"type": "input_image"})], "input[0].content[0].image_url"),
        (
            [message("user", {"type": "input_file", "file_url": "https://a/b"})],
            "input[0].content[0].file_url",
        ),
        (
            [message("user", {"type": "input_audio", "input_audio": "AA"})],
            "input[0].content[0].input_audio",
        ),
        ([message("user", {"type": "input_audio"})], "input[0].content[0].input_audio"),
        ([{"type": "function_call", "call_id": "c1", "arguments": "{}"}], "input[0].name"),
        ([CALL | {"arguments": {}}], "input[0].arguments"),
        ([{"type": "function_call_output", "output": "a"}], "input[0].call_id"),
        ([OUTPUT | {"output": [{"type": "x"}]}], "input[0].output[0].type"),
        ([THOUGHT | {"content": [{"type": "reasoning_text"}]}], "input[0].content[0].text"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(given: Any, param: str) -> None:
    assert blamed(given) == param
