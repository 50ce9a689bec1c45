import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.chat import (
    MAX_CHOICES,
    MAX_TOP_LOGPROBS,
    Dialect,
    Prefix,
    parse_chat,
    upstream_body,
    upstream_stream_body,
)
from routing.vocabulary import Need

QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def dialect(**changes: Any) -> Dialect:
    fields: dict[str, Any] = {"is_evidence_wanted": True, "has_running_usage": False, "extra": {}}
    return Dialect(**({"model": "theirs"} | fields | changes))


def sent(*, is_evidence_wanted: bool = True, **changes: Any) -> dict[str, Any]:
    chat = parse_chat(json.dumps(QUESTION | changes).encode())
    extra = {"priority": msgspec.Raw(b"5")}
    body = upstream_body(chat, dialect(is_evidence_wanted=is_evidence_wanted, extra=extra))
    decoded: dict[str, Any] = json.loads(body)
    return decoded


def streamed(prefix: Prefix | None = None, **changes: Any) -> dict[str, Any]:
    """What a model without evidence is asked for a stream; ``running`` is its dialect's."""
    spoken = dialect(is_evidence_wanted=False, has_running_usage=changes.pop("running", False))
    chat = parse_chat(json.dumps(QUESTION | changes).encode())
    decoded: dict[str, Any] = json.loads(upstream_stream_body(chat, spoken, prefix))
    return decoded


def test_unknown_fields_pass_and_the_model_name_is_replaced() -> None:
    body = sent(min_p=0.1, guided_choice=["a"], stream=True, stream_options={"include_usage": True})
    assert body == {
        "model": "theirs",
        "messages": QUESTION["messages"],
        "min_p": 0.1,
        "guided_choice": ["a"],
        "priority": 5,
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_numbers_pass_byte_for_byte() -> None:
    chat = parse_chat(b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":1.50e3}')
    for body in (
        upstream_body(chat, dialect()),
        upstream_stream_body(chat, dialect(), None),
        upstream_stream_body(chat, dialect(), Prefix("a", 1)),
    ):
        assert b'"seed":1.50e3' in body


@pytest.mark.parametrize(("asked", "given"), [(0, 2), (1, 2), (2, 2), (5, 5), (20, 20)])
def test_as_few_log_probabilities_are_asked_for_as_suffice(asked: int, given: int) -> None:
    assert sent(logprobs=True, top_logprobs=asked)["top_logprobs"] == given


def test_a_teacher_is_asked_for_what_the_client_asked_and_no_more() -> None:
    assert "logprobs" not in sent(is_evidence_wanted=False)
    assert sent(is_evidence_wanted=False, logprobs=True, top_logprobs=1)["top_logprobs"] == 1


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"stream": False},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": False}},
    ],
)
def test_a_stream_is_asked_for_with_its_usage_whatever_the_client_wants(
    wish: dict[str, Any],
) -> None:
    body = streamed(**wish)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_running_bill_is_asked_for_where_there_is_one() -> None:
    running = {"include_usage": True, "continuous_usage_stats": True}
    assert streamed(running=True)["stream_options"] == running


def test_a_stream_asks_for_evidence_as_a_whole_answer_does() -> None:
    chat = parse_chat(json.dumps(QUESTION).encode())
    body = json.loads(upstream_stream_body(chat, dialect(), None))
    assert body["logprobs"] is True
    assert body["top_logprobs"] == 2
    assert "logprobs" not in streamed()


def test_a_model_that_is_to_go_on_gets_the_words_without_the_blanks_behind_them() -> None:
    body = streamed(Prefix("The capital is \n", 4))
    last = {"role": "assistant", "content": "The capital is"}
    assert body["messages"] == [*QUESTION["messages"], last]
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False


def test_a_model_that_begins_is_not_told_to_go_on() -> None:
    body = streamed()
    assert body["messages"] == QUESTION["messages"]
    assert not {"continue_final_message", "add_generation_prompt"} & body.keys()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("most", "left"), [(100, 68), (33, 1), (32, 1), (20, 1)])
def test_what_is_out_counts_against_the_limit(name: str, most: int, left: int) -> None:
    assert streamed(Prefix("a", 32), **{name: most})[name] == left
    assert streamed(None, **{name: most})[name] == most


@pytest.mark.parametrize(("least", "left"), [(100, 68), (32, 0), (20, 0), (0, 0)])
def test_what_is_out_counts_towards_the_least_length(least: int, left: int) -> None:
    assert streamed(Prefix("a", 32), min_tokens=least)["min_tokens"] == left
    assert streamed(None, min_tokens=least)["min_tokens"] == least


def test_a_model_that_is_to_go_on_repeats_nothing() -> None:
    assert "echo" not in streamed(Prefix("a", 32), echo=True)
    assert streamed(None, echo=True)["echo"] is True


@pytest.mark.parametrize(
    ("limits", "has_room"),
    [
        ({}, True),
        ({"max_tokens": None}, True),
        ({"max_tokens": 33}, True),
        ({"max_tokens": 32}, False),
        ({"max_completion_tokens": 20}, False),
        ({"max_tokens": 20, "max_completion_tokens": 40}, False),
    ],
)
def test_an_answer_has_room_below_every_limit(limits: dict[str, Any], has_room: bool) -> None:
    assert parse_chat(json.dumps(QUESTION | limits).encode()).has_room_after(32) is has_room


@pytest.mark.parametrize(
    ("changes", "has_grammar"),
    [
        ({}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, False),  # which is held whole anyway
        ({"response_format": {"type": "structural_tag", "structures": []}}, True),
        ({"structured_outputs": {"regex": "a+"}}, True),
        ({"structured_outputs": None}, False),
        ({"guided_choice": ["a", "b"]}, True),
        ({"grammar": 'root ::= "a"'}, True),
        ({"regex": "a+"}, True),
    ],
)
def test_a_grammar_is_seen_in_the_words_of_any_server(
    changes: dict[str, Any], has_grammar: bool
) -> None:
    assert parse_chat(json.dumps(QUESTION | changes).encode()).has_grammar is has_grammar


def test_no_limit_stays_no_limit() -> None:
    body = streamed(Prefix("a", 32), max_tokens=None)
    assert body["max_tokens"] is None
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize(
    ("text", "stem", "seam"),
    [("", "", ""), ("a", "a", ""), ("a b", "a b", ""), ("a \n", "a", " \n"), (" \n", "", " \n")],
)
def test_a_prefix_is_a_stem_and_the_blanks_behind_it(text: str, stem: str, seam: str) -> None:
    prefix = Prefix(text, 1)
    assert (prefix.stem, prefix.seam) == (stem, seam)


def test_a_chat_template_is_refused_wherever_it_hides() -> None:
    with pytest.raises(RequestError) as caught:
        sent(chat_template_kwargs={"chat_template": "{{ x }}"})
    assert caught.value.param == "chat_template_kwargs.chat_template"
    assert sent(chat_template_kwargs={"enable_thinking": False})["chat_template_kwargs"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"x"', None),
        (b"\xff\xfe", None),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"z":"\xff"}', None),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"z":[1e999]}', None),
        (b'{"model":"m","messages":[{"role":"user","content":"x","z":%b}]}' % (b"9" * 5_000), None),
        (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[]}', "messages"),
        (b'{"model":"m","messages":"x"}', "messages"),
        (b'{"model":5,"messages":[]}', "model"),
        (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role"),
        (b'{"model":"m","messages":[{"role":"user","content":5}]}', "messages[0].content"),
        (b"[" * 100_000, None),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"z":' + b"[" * 100_000, None),
    ],
)
def test_a_body_that_is_no_chat_request_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        parse_chat(body)
    assert caught.value.param == param
    assert "$" not in caught.value.message
    assert "`" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"n": MAX_CHOICES + 1}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": MAX_TOP_LOGPROBS + 1}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": {}}, "tools"),
        ({"store": "no"}, "store"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        sent(**changes)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "changes",
    [
        {"n": MAX_CHOICES},
        {"temperature": 0},
        {"max_tokens": 1},
        {"logprobs": True, "top_logprobs": MAX_TOP_LOGPROBS},
        {"temperature": None, "n": None, "stream": None, "tools": None, "stream_options": None},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    ],
)
def test_values_at_the_edge_pass(changes: dict[str, Any]) -> None:
    sent(**changes)


@pytest.mark.parametrize("depth", [400, 850, 940, 5_000])
def test_what_passes_can_be_wrapped_and_read_again(depth: int) -> None:
    deep = b'{"model":"m","messages":[{"role":"user","content":"x"}],"z":%s1%s}'
    body = deep % (b"[" * depth, b"]" * depth)
    is_refused = False
    try:
        parse_chat(body)
    except RequestError:
        is_refused = True
    assert is_refused is (depth > 850)
    if not is_refused:
        msgspec.json.decode(b'{"pair":{"request":%s}}' % body)


def test_needs_are_read_from_tools_and_from_parts_that_are_no_text() -> None:
    def needs(**changes: Any) -> frozenset[Need]:
        return parse_chat(json.dumps(QUESTION | changes).encode()).needs

    image = {"type": "image_url", "image_url": {"url": "https://x"}}
    text = {"type": "text", "text": "x"}
    assert needs() == frozenset()
    assert needs(tools=[]) == frozenset()
    assert needs(tools=[{}]) == {Need.TOOLS}
    assert needs(functions=[{}]) == {Need.TOOLS}
    assert needs(messages=[{"role": "tool", "content": "5"}]) == {Need.TOOLS}
    called: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{}]}
    assert needs(messages=[called]) == {Need.TOOLS}
    assert needs(messages=[{"role": "user", "content": [text]}]) == frozenset()
    assert needs(messages=[{"role": "user", "content": [text, image]}]) == {Need.VISION}


def test_a_request_may_opt_out_of_storage() -> None:
    def is_store_allowed(**changes: Any) -> bool:
        return parse_chat(json.dumps(QUESTION | changes).encode()).is_store_allowed

    assert is_store_allowed()
    assert is_store_allowed(store=True)
    assert is_store_allowed(store=None)
    assert not is_store_allowed(store=False)
