import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.messages.shape import NULL
from gateway.wire.messages.turns import conversation_of

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
LINK = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
LINK_PART = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}}
CHAT_CALL = {
    "id": "t1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def mapped(*messages: Any, system: Any = None) -> Any:
    told = NULL if system is None else raw(system)
    said = conversation_of(told, [raw(message) for message in messages])
    assert len(said.places) == len(said.messages)
    return json.loads(msgspec.json.encode(said.messages))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hi.", "Hi."),
        ([text("Hi.", cache_control={"type": "ephemeral"})], "Hi."),
        ([text("Hi."), text("You?")], [text("Hi."), text("You?")]),
        ([PNG, text("What is it?"), LINK], [PNG_PART, text("What is it?"), LINK_PART]),
        ([], ""),
    ],
)
def test_what_a_user_says_is_a_string_where_it_can_be_one(content: Any, expected: Any) -> None:
    assert mapped(user(content)) == [user(expected)]


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.")]])
def test_the_system_comes_first(system: Any) -> None:
    assert mapped(user("Hi."), system=system)[0] == {"role": "system", "content": "Be brief."}


def test_blocks_of_the_system_are_lines_of_it() -> None:
    blocks = [text("x-anthropic-billing-header: cch=1f;"), text("Be brief."), text("Be kind.")]
    leading = {"role": "system", "content": "Be true."}
    (told, _) = mapped(leading, user("Hi."), system=blocks)
    assert told["content"] == "Be brief.\nBe kind.\nBe true."


def test_what_the_system_says_between_turns_is_said_by_the_user() -> None:
    between = {"role": "system", "content": "Now in French."}
    asked, answered, told = mapped(user("Hi."), assistant("Hello."), between)
    assert (asked, answered) == (user("Hi."), assistant("Hello."))
    assert told == user("Now in French.")


def test_turns_of_one_side_are_one_turn() -> None:
    assert mapped(user("A"), user([text("B")]), assistant("C"), assistant("D"), user("E")) == [
        user([text("A"), text("B")]),
        assistant("CD"),
        user("E"),
    ]


def test_a_call_and_its_result() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny."}
    said = [text("Let me look."), CALL]
    assert mapped(user("Weather?"), assistant(said), user([text("Well?"), result])) == [
        user("Weather?"),
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CHAT_CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": "Sunny."},
        user("Well?"),
    ]


def test_a_call_alone_has_no_words() -> None:
    (_, answered) = mapped(user("Weather?"), assistant([CALL]))
    assert answered == {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}


def test_nothing_stands_between_a_call_and_its_results() -> None:
    results = [{"type": "tool_result", "tool_use_id": f"t{place}"} for place in (1, 2)]
    between = {"role": "system", "content": "Careful."}
    roles = [
        message["role"] for message in mapped(user("?"), assistant([CALL]), between, user(results))
    ]
    assert roles == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, ""),
        ({"content": "Sunny."}, "Sunny."),
        ({"content": [text("Sunny."), text("Warm.")]}, "Sunny.\nWarm."),
        ({"content": "no such city", "is_error": True}, "Error: no such city"),
        ({"content": "Sunny.", "is_error": False}, "Sunny."),
    ],
)
def test_the_words_of_a_result(result: Any, expected: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", **result}
    assert mapped(user([block])) == [{"role": "tool", "tool_call_id": "t1", "content": expected}]


def test_an_image_in_a_result_is_shown_after_it() -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": [text("Look."), PNG]}
    assert mapped(user([block])) == [
        {"role": "tool", "tool_call_id": "t1", "content": "Look."},
        user([PNG_PART]),
    ]


def test_thoughts_go_back_to_who_had_them() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    assert mapped(user("?"), assistant([thinking, hidden, text("Yes.")]))[1] == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning": "Hm.",
        "reasoning_content": "Hm.",
    }


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ([{"role": "robot", "content": "Hi."}], "messages.0.role"),
        ([{"content": "Hi."}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([user(5)], "messages.0.content"),
        ([7], "messages.0"),
        ([user([{"text": "Hi."}])], "messages.0.content.0.type"),
        ([user([{"type": "text"}])], "messages.0.content.0.text"),
        ([user([text("Hi."), {"type": "text", "text": 1}])], "messages.0.content.1.text"),
        ([user([{"type": "container_upload"}])], "messages.0.content.0.type"),
        ([user([CALL])], "messages.0.content.0.type"),
        ([user("?"), assistant([PNG])], "messages.1.content.0.type"),
        ([user("?"), assistant([CALL | {"id": None}])], "messages.1.content.0.id"),
        ([user("?"), assistant([CALL | {"name": ""}])], "messages.1.content.0.name"),
        ([user("?"), assistant([CALL | {"input": "x"}])], "messages.1.content.0.input"),
        ([user([{"type": "tool_result"}])], "messages.0.content.0.tool_use_id"),
        (
            [user([{"type": "tool_result", "tool_use_id": "t", "content": [CALL]}])],
            "messages.0.content.0.content.0.type",
        ),
    ],
)
def test_a_refusal_names_the_path(messages: Any, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        mapped(*messages)
    assert caught.value.param == path
    assert caught.value.message.startswith(f"{path}: ")


def test_only_words_are_said_by_the_system() -> None:
    with pytest.raises(RequestError, match=r"system\.1\.type"):
        mapped(user("Hi."), system=[text("Be brief."), PNG])
