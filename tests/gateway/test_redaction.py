"""What of a pair's content is text, which a redactor sees, and what is the protocol's."""

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from gateway.config_file import ConfigError
from gateway.redaction import (
    MAX_TEXT_CHARACTERS,
    REDACTOR_SECONDS,
    REMOVED,
    Redactor,
    RedactorFailed,
    find_redactor,
)

SECRET = "Ann Oak"


def hide(text: str) -> str:
    return text.replace(SECRET, "[NAME]")


def replace_all(_: str) -> str:
    return "*"


def redacted(content: Any, redact: Callable[[str], str] = hide) -> Any:
    return json.loads(Redactor("r", redact).redacted(json.dumps(content).encode()))


def request(**fields: Any) -> Any:
    return {"request": fields}


def message(**fields: Any) -> Any:
    return request(messages=[{"role": "user", **fields}])


ASKED = f"Who is {SECRET}?"
SEEN = "Who is [NAME]?"


@pytest.mark.parametrize(
    ("where", "content"),
    [
        ("a text", lambda text: message(content=text)),
        ("a part", lambda text: message(content=[{"type": "text", "text": text}])),
        ("a refusal", lambda text: message(content=[{"type": "refusal", "refusal": text}])),
        ("the name of a person", lambda text: message(name=text, content="x")),
        ("reasoning", lambda text: message(reasoning_content=text)),
        (
            "a tool call",
            lambda text: message(
                tool_calls=[
                    {
                        "id": "call-1",
                        "type": "function",
                        "function": {"name": "f", "arguments": f'{{"who": "{text}"}}'},
                    }
                ]
            ),
        ),
        (
            "the name of a function",
            lambda text: request(tools=[{"type": "function", "function": {"name": text}}]),
        ),
        (
            "the schema of a tool",
            lambda text: request(
                tools=[{"function": {"parameters": {"properties": {"a": {"enum": [text]}}}}}]
            ),
        ),
        ("a field that nobody knows", lambda text: request(x_notes={"deep": [[text]]})),
        ("metadata", lambda text: request(metadata={"about": text})),
        ("the user", lambda text: request(user=text)),
        ("a stop sequence", lambda text: request(stop=[text])),
        ("an address", lambda text: message(content=[{"image_url": {"url": f"http://a/{text}"}}])),
        ("an answer", lambda text: {"answer": {"choices": [{"message": {"content": text}}]}}),
        ("a draft", lambda text: {"draft": {"choices": [{"message": {"reasoning": text}}]}}),
        ("the words that were out", lambda text: {"released": text}),
        ("a role that is none", lambda text: message(role=text)),
        ("a type that is none", lambda text: message(content=[{"type": text}])),
        ("an id that is none", lambda text: {"answer": {"id": text}}),
        ("an id in metadata", lambda text: request(metadata={"id": text})),
    ],
)
def test_all_that_somebody_said_is_seen(where: str, content: Callable[[str], Any]) -> None:
    assert redacted(content(ASKED)) == content(SEEN), where


def test_keys_are_text_too_but_for_those_of_the_protocol_and_of_json_schema() -> None:
    content = request(metadata={SECRET: "x", "content": "y"}, model="m")
    assert redacted(content) == request(metadata={"[NAME]": "x", "content": "y"}, model="m")
    assert redacted(request(metadata={"a": 1, "b": 2}), replace_all) == request(metadata={"*": 2})


WIRE: dict[str, Any] = {
    "request": {
        "model": "assistant",
        "stream": True,
        "temperature": 0.5,
        "tool_choice": "auto",
        "logprobs": True,
        "top_logprobs": 3,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "*"}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_9-a:b",
                        "type": "function",
                        "function": {"name": "*", "arguments": "*"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_9-a:b", "content": "*"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "*",
                    "parameters": {
                        "type": "object",
                        "properties": {"*": {"type": ["string", "null"]}},
                        "required": ["*"],
                        "additionalProperties": False,
                    },
                },
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "*", "strict": True}},
    },
    "draft": None,
    "answer": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "org/model-7b:latest",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": None, "tool_calls": []},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    },
    "released": None,
}


def test_the_protocol_outlives_a_redactor_that_leaves_no_text() -> None:
    assert redacted(WIRE, replace_all) == WIRE


def test_what_says_the_same_as_the_text_is_removed() -> None:
    entry = {"token": SECRET, "bytes": [65], "logprob": -0.1, "top_logprobs": []}
    answer = {
        "choices": [{"logprobs": {"content": [entry]}, "token_ids": [1], "index": 0}],
        "prompt_logprobs": [None, {"7": {"decoded_token": SECRET}}],
        "prompt_token_ids": [1, 2],
    }
    assert redacted({"answer": answer}) == {"answer": {"choices": [{"index": 0}]}}
    assert redacted(request(logprobs=True)) == request(logprobs=True)


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": 1}},
            {"type": "image_url", "image_url": {"url": REMOVED, "detail": 1}},
        ),
        ({"image_url": "DATA:image/png;base64,AA=="}, {"image_url": REMOVED}),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": REMOVED, "format": "wav"}},
        ),
        ({"file": {"file_data": "AA=="}}, {"file": {"file_data": REMOVED}}),
        ({"image_url": {"url": "https://a/b.png"}}, {"image_url": {"url": "https://a/b.png"}}),
    ],
)
def test_what_no_redactor_can_read_is_removed(part: Any, kept: Any) -> None:
    assert redacted(message(content=[part])) == message(content=[kept])


def test_data_of_the_clients_own_is_text() -> None:
    assert redacted(request(metadata={"data": ASKED})) == request(metadata={"data": SEEN})


def test_of_two_members_of_one_name_only_one_is_left_and_that_is_redacted() -> None:
    content = b'{"request": {"user": "%s", "user": "%s!"}}' % ((SECRET.encode(),) * 2)
    assert Redactor("r", hide).redacted(content) == b'{"request":{"user":"[NAME]!"}}'


def raising(_: str) -> str:
    raise ValueError(SECRET)


def failing(redact: Callable[..., Any], content: Any = None, **parts: Any) -> str:
    with pytest.raises(RedactorFailed) as caught:
        Redactor("r", redact, **parts).redacted(
            json.dumps(content or message(content="x")).encode()
        )
    return str(caught.value)


def test_a_redactor_that_raises_has_failed_and_its_words_are_not_told() -> None:
    assert failing(raising) == "ValueError"


@pytest.mark.parametrize("value", [None, b"x", 0, ["x"]])
def test_a_redactor_that_returns_no_text_has_failed(value: object) -> None:
    assert failing(lambda _: value) == f"it returned {type(value).__name__}, no text"


def test_a_redactor_that_takes_too_long_has_failed() -> None:
    now = [0.0]

    def slow(text: str) -> str:
        now[0] += REDACTOR_SECONDS / 2
        return text

    assert Redactor("r", slow, clock=lambda: now[0]).redacted(b'{"released":"x"}')
    three = message(content=[{"text": "a"}, {"text": "b"}, {"text": "c"}])
    assert failing(slow, three, clock=lambda: now[0]) == "it took more than 1 s for one pair"


def test_a_text_that_is_too_long_to_wait_for_is_not_begun() -> None:
    seen: list[str] = []

    def count(text: str) -> str:
        seen.append(text)
        return text

    most = "x" * MAX_TEXT_CHARACTERS
    Redactor("r", count).redacted(json.dumps({"released": most}).encode())
    assert seen == [most]
    assert "1048576 characters" in failing(count, {"released": most + "x"})
    assert seen == [most]


@pytest.mark.parametrize(
    "content", [b'{"released": "\\ud800"}', b"{", b"[" * 2000 + b"]" * 2000, b'{"a":\xff}']
)
def test_what_cannot_be_read_has_failed(content: bytes) -> None:
    with pytest.raises(RedactorFailed):
        Redactor("r", hide).redacted(content)


# --- by name ---


def installed(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    group = "understudy.redactors"
    made = EntryPoints(EntryPoint(name, value, group) for name, value in points.items())
    monkeypatch.setattr("gateway.redaction.entry_points", lambda group: made.select(group=group))


def test_a_redactor_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, upper="string:capwords", other="json:dumps")
    found = find_redactor("upper")
    assert found.name == "upper"
    assert found.redacted(b'{"released":"a b"}') == b'{"released":"A B"}'


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"a": "json:dumps", "b": "json:loads"}, "'mine' is not installed: choose .*(a, b)"),
        ({}, r"not installed: choose one of those that are \(none\)"),
        ({"mine": "no_such_module_x:f"}, "ModuleNotFoundError: No module named .*: install"),
        ({"mine": "json:no_such_function"}, "AttributeError"),
        ({"mine": "string:digits"}, "string:digits, which cannot be called"),
    ],
)
def test_a_name_that_leads_to_no_function_is_refused(
    monkeypatch: pytest.MonkeyPatch, points: dict[str, str], message: str
) -> None:
    installed(monkeypatch, **points)
    with pytest.raises(ConfigError, match=f"^redactor: .*{message}"):
        find_redactor("mine")


def test_a_name_that_two_packages_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "understudy.redactors"
    made = EntryPoints(EntryPoint("mine", value, group) for value in ("json:dumps", "json:loads"))
    monkeypatch.setattr("gateway.redaction.entry_points", lambda group: made.select(group=group))
    with pytest.raises(ConfigError, match="twice, as json:dumps and json:loads: remove one"):
        find_redactor("mine")
