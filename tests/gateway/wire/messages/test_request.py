import json
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.wire.messages.request import MessageRequest, parse_request
from routing.vocabulary import Need

REQUEST = {
    "model": "assistant",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi."}],
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


def read(**changes: Any) -> MessageRequest:
    return parse_request(json.dumps(REQUEST | changes).encode(), None)


def chat(**changes: Any) -> Any:
    return json.loads(read(**changes).chat.body)


def test_the_smallest_request() -> None:
    asked = read()
    assert json.loads(asked.chat.body) == REQUEST
    assert asked.chat.is_usage_wanted
    assert not asked.chat.is_stream
    assert asked.chat.most_tokens == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.9),
        ("top_k", 40),
        ("stream", True),
        ("seed", 7),
        ("store", False),
        ("understudy", {"route": "teacher"}),
        ("min_p", 0.1),
    ],
)
def test_these_pass_as_they_are(name: str, value: Any) -> None:
    assert chat(**{name: value}) == REQUEST | {name: value}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u1"}}, {"user": "u1"}),
        ({"metadata": {"user_id": None}}, {}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        ({"thinking": {"type": "adaptive"}}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {
                "thinking": {"type": "disabled"},
                "chat_template_kwargs": {"enable_thinking": True, "x": 1},
            },
            {"chat_template_kwargs": {"enable_thinking": True, "x": 1}},
        ),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tools": []}, {}),
        ({"cache_control": {"type": "ephemeral"}, "speed": "fast"}, {}),
        ({"stream_options": {"include_usage": False}}, {}),
        ({"container": None, "mcp_servers": []}, {}),
        ({"n": 1}, {"n": 1}),
    ],
)
def test_these_are_said_in_the_words_of_a_chat(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert chat(**changes) == REQUEST | expected


@pytest.mark.parametrize(
    "changes", [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}]
)
def test_a_wished_form_is_a_response_format(changes: dict[str, Any]) -> None:
    asked = read(**changes)
    assert asked.chat.is_json_wanted
    schema = {"name": "answer", "schema": SCHEMA, "strict": True}
    expected = {"type": "json_schema", "json_schema": schema}
    assert json.loads(asked.chat.body)["response_format"] == expected


def test_tools_and_images_are_needs() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    tool = {"name": "weather", "input_schema": SCHEMA}
    asked = read(messages=[{"role": "user", "content": [image]}], tools=[tool])
    assert asked.chat.needs == {Need.TOOLS, Need.VISION}


def test_a_begun_answer_is_gone_on_with() -> None:
    begun = [*REQUEST["messages"], {"role": "assistant", "content": "The best is ("}]  # type: ignore[misc]
    asked = read(messages=begun)
    assert asked.chat.is_continuation
    assert asked.terms.begun == "The best is ("
    assert json.loads(asked.chat.body)["add_generation_prompt"] is False


@pytest.mark.parametrize(
    "content", ["", [{"type": "tool_use", "id": "t", "name": "weather", "input": {}}]]
)
def test_nothing_to_go_on_with(content: Any) -> None:
    messages = [*REQUEST["messages"], {"role": "assistant", "content": content}]  # type: ignore[misc]
    assert not read(messages=messages).chat.is_continuation


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": 1}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi."}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"stop_sequences": ["a", 1]}, "stop_sequences.1"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"thinking": {}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_format": {"type": "xml"}}, "output_format.type"),
        ({"tools": [{"type": "code_execution_20250825"}]}, "tools.0.type"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"name": "m"}]}, "mcp_servers"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"compaction": {"type": "x"}}, "compaction"),
        ({"thread": {"type": "create"}}, "thread"),
        ({"n": 2}, "n"),
        ({"chat_template": "x"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_a_refusal_names_the_client_s_own_parameter(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(**changes)
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model":"a","max_tokens":1,"messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"a","max_tokens":1,"x":"\\ud800","messages":[{"role":"user","content":""}]}',
        b'{"model":"a","max_tokens":1,"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"a","max_tokens":1,"messages":[{"role":"user","content":"Hi."}],"x":'
        + b"[" * 900
        + b"]" * 900
        + b"}",
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(body, None)


def test_a_required_field_that_is_not_there_is_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(b'{"model":"a","max_tokens":1}', None)
    assert caught.value.message == "messages: Field required."


def test_to_count_no_limit_is_needed() -> None:
    body = {name: value for name, value in REQUEST.items() if name != "max_tokens"}
    asked = parse_request(json.dumps(body).encode(), None, is_count=True)
    assert asked.chat.most_tokens is None
