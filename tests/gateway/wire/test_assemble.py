import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.assemble import Assembly
from gateway.wire.chat import parse_chat
from gateway.wire.chunk import decode
from gateway.wire.completion import drafts_of, read_completion
from gateway.wire.replay import replay
from gateway.wire.sse import EventSplitter
from routing.vocabulary import Structure
from tests.fakes.chunks import USAGE, chunk, payload, usage_report
from tests.fakes.recordings import RECORDINGS, missing, streams
from tests.fakes.upstream import completion, tokens

QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
CHAT = parse_chat(json.dumps(QUESTION).encode())


def assembled(*payloads: bytes, is_logprobs_kept: bool = True) -> Any:
    assembly = Assembly(is_logprobs_kept=is_logprobs_kept)
    for each in payloads:
        assembly.add(decode(each))
    return json.loads(assembly.body())


def message_of(*deltas: Any) -> Any:
    return assembled(*map(chunk, deltas))["choices"][0]["message"]


def cut(text: str, places: Sequence[int]) -> list[str]:
    cuts = sorted({min(place, len(text)) for place in places})
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


ENTRIES = st.text(max_size=5).map(lambda text: tokens(text)[0])
CALLS = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.text(), "arguments": st.text()}),
    }
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.text(min_size=1)},
    optional={
        "reasoning": st.text(),
        "refusal": st.text() | st.none(),
        "novelty": st.text() | st.integers() | st.lists(st.integers(), min_size=1),
        "tool_calls": st.lists(CALLS, min_size=1, max_size=3),
    },
)
COMPLETIONS = st.builds(
    lambda message, entries, top, choice: {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_795_454_776,
        "model": "upstream-name",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": {"content": entries} if entries else None,
                **choice,
            }
        ],
        **top,
    },
    MESSAGES,
    st.lists(ENTRIES, max_size=4),
    st.fixed_dictionaries(
        {"usage": st.just(USAGE)},
        optional={"system_fingerprint": st.text(), "novelty": st.none() | st.lists(st.text())},
    ),
    st.fixed_dictionaries(
        {"finish_reason": st.sampled_from(["stop", "length"])},
        optional={
            "stop_reason": st.none() | st.text(),
            "token_ids": st.none() | st.lists(st.integers(), min_size=1),
        },
    ),
)
PLACES = st.lists(st.integers(0, 20), max_size=4)


def deltas_of(message: dict[str, Any], draw: Any) -> Iterator[dict[str, Any]]:
    yield {"role": message["role"], "content": draw(st.sampled_from(["", None]))}
    for name in ("reasoning", "content", "refusal", "novelty"):
        value = message.get(name)
        if isinstance(value, str):
            yield from ({name: piece} for piece in cut(value, draw(PLACES)))
        elif isinstance(value, list):
            yield from ({name: [each]} for each in value)
        elif name in message:
            yield {name: value}
    for index, call in enumerate(message.get("tool_calls", ())):
        begun = {**call, "index": index, "function": {"name": call["function"]["name"]}}
        yield {"content": None, "tool_calls": [begun]}
        for piece in cut(call["function"]["arguments"], draw(PLACES)):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def payloads_of(whole: dict[str, Any], draw: Any) -> Iterator[bytes]:
    (choice,) = whole["choices"]
    top = {key: whole[key] for key in ("system_fingerprint", "novelty") if key in whole}
    entries = list((choice["logprobs"] or {}).get("content", ()))
    ids = choice.get("token_ids")
    for delta in deltas_of(choice["message"], draw):
        some, entries = (entries[:1], entries[1:]) if draw(st.booleans()) else (None, entries)
        yield chunk(delta, some or None, {"stop_reason": None} if "stop_reason" in choice else {})
    facts = {key: choice[key] for key in ("finish_reason", "stop_reason") if key in choice}
    if "token_ids" in choice:
        yield chunk({}, choice={"token_ids": ids and ids[:1]})
        facts["token_ids"] = ids and ids[1:]
    yield chunk({}, entries or None, facts, **top)
    yield usage_report()


@given(COMPLETIONS, st.data())
def test_a_completion_that_was_cut_into_chunks_is_put_together_again(
    whole: dict[str, Any], data: st.DataObject
) -> None:
    assert assembled(*payloads_of(whole, data.draw)) == whole


def test_what_was_replayed_is_put_together_again() -> None:
    calls = [
        {"id": str(place), "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for place in range(2)
    ]
    question = {"stream": True, "logprobs": True, "stream_options": {"include_usage": True}}
    chat = parse_chat(json.dumps(QUESTION | question | {"top_logprobs": 2}).encode())
    whole = completion("Paris.", message={"tool_calls": calls})
    stream = b"".join(replay(read_completion(json.dumps(whole).encode()), chat, {}))
    *payloads, _ = EventSplitter().feed(stream)
    body = assembled(*payloads)
    del whole["kv_transfer_params"], whole["choices"][0]["message"]["refusal"]
    del whole["choices"][0]["message"]["reasoning"]
    assert body == whole | {"model": "assistant", "understudy": {}}


def test_the_text_so_far_can_be_read_at_any_time() -> None:
    assembly = Assembly()
    assert assembly.text == ""
    for delta in (
        {"role": "assistant"},
        {"content": 'a"\n'},
        {"reasoning": "hm"},
        {"content": "é"},
    ):
        assembly.add(decode(chunk(delta)))
    assert assembly.text == 'a"\né'
    assembly.add(decode(chunk({"content": "."})))
    assert assembly.text == 'a"\né.'


def test_a_long_stream_is_put_together_in_parts() -> None:
    pieces = [chunk({"content": "word "}, tokens("word "))] * 1000
    body = assembled(*pieces)
    assert body["choices"][0]["message"]["content"] == "word " * 1000
    assert len(body["choices"][0]["logprobs"]["content"]) == 1000


def test_log_probabilities_can_be_left_out() -> None:
    body = assembled(chunk({"content": "x"}, tokens("x")), is_logprobs_kept=False)
    assert body["choices"][0]["logprobs"] is None
    assert "logprobs" not in assembled(payload(choices=[{}]))["choices"][0]


@pytest.mark.parametrize("logprobs", [[], 5, {"content": None}, {}])
def test_log_probabilities_that_say_nothing_do_no_harm(logprobs: Any) -> None:
    entry = tokens("x")[0]
    body = assembled(chunk({"content": "x"}, [entry]), chunk({}, choice={"logprobs": logprobs}))
    assert body["choices"][0]["logprobs"] == {"content": [entry]}


def test_an_unfinished_answer_has_no_finish_reason() -> None:
    body = assembled(chunk({"content": "x"}))
    assert body["choices"][0]["finish_reason"] is None
    (draft,) = drafts_of(read_completion(json.dumps(body).encode()), CHAT)
    assert draft.structure is Structure.NOT_ASKED


def test_no_chunk_at_all_is_an_empty_answer() -> None:
    body = assembled()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": None}


def test_the_first_id_and_the_latest_usage_hold() -> None:
    body = assembled(
        chunk({"content": "x"}, usage=USAGE | {"completion_tokens": 1}),
        chunk({"content": "y"}, usage=USAGE, id="other"),
        chunk({}, usage=None, id="other"),
    )
    assert body["id"] == "chatcmpl-1"
    assert body["usage"] == USAGE


def test_an_error_is_no_part_of_an_answer() -> None:
    with pytest.raises(ValueError, match="error"):
        Assembly().add(decode(b'{"error": "Engine died"}'))


def call(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [fields]}


def test_tool_calls_are_merged_by_index() -> None:
    message = message_of(
        {"role": "assistant", "content": ""},
        call(index=1, id="b", type="function", function={"name": "g", "arguments": ""}),
        call(index=0, id="a", type="function", function={"name": "f"}),
        call(index=1, function={"arguments": '{"x": '}),
        call(index=0, id="", function={"name": None, "arguments": "{}"}),
        call(index=1, id=None, function={"arguments": '"é"}'}),
    )
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x": "é"}'}},
        ],
    }


def test_tool_calls_without_an_index_begin_with_an_id() -> None:
    (first, second) = message_of(
        call(id="a", function={"name": "f", "arguments": "{"}),
        call(function={"arguments": "}"}),
        call(id="b", function={"name": "g", "arguments": "["}),
        call(function={"arguments": "]"}),
    )["tool_calls"]
    assert first == {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert second == {"id": "b", "function": {"name": "g", "arguments": "[]"}}
    (only,) = message_of(call(function={"arguments": "{}"}))["tool_calls"]
    assert only == {"function": {"arguments": "{}"}}


def test_a_call_without_arguments_has_empty_ones() -> None:
    (made,) = message_of(call(index=0, id="a", function={"name": "f"}))["tool_calls"]
    assert made["function"] == {"name": "f", "arguments": ""}


def test_other_parts_of_a_call_come_through() -> None:
    (made,) = message_of(
        call(index=0, id="a", type="custom", custom={"name": "f", "input": "x"}, novelty=1),
        call(index=0, custom={"input": "y"}),
    )["tool_calls"]
    assert made == {
        "id": "a",
        "type": "custom",
        "custom": {"name": "f", "input": "xy"},
        "novelty": 1,
    }


@pytest.mark.parametrize("calls", [None, [], {}, [5], "x"])
def test_tool_calls_that_are_none_or_unreadable_are_left_out(calls: Any) -> None:
    assert message_of({"content": "x", "tool_calls": calls}) == {
        "role": "assistant",
        "content": "x",
    }


def test_a_function_call_of_the_old_kind_is_joined() -> None:
    message = message_of(
        {"function_call": {"name": "f", "arguments": "{"}},
        {"function_call": {"arguments": "}"}},
        {"function_call": None},
    )
    assert message["function_call"] == {"name": "f", "arguments": "{}"}


def test_content_in_parts_is_kept_and_is_no_text() -> None:
    parts = [{"type": "text", "text": "x"}]
    assembly = Assembly()
    for piece in (parts, [], parts):
        assembly.add(decode(chunk({"content": piece})))
    assert assembly.text == ""
    assert json.loads(assembly.body())["choices"][0]["message"]["content"] == parts * 2


@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_recorded_stream_is_a_completion(request_body: dict[str, Any], stream: bytes) -> None:
    *payloads, _ = EventSplitter().feed(stream)
    recorded = [json.loads(each) for each in payloads]
    body = assembled(*payloads)
    read = read_completion(json.dumps(body).encode())
    (choice,) = body["choices"]
    deltas = [each["choices"][0]["delta"] for each in recorded if each["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert (choice["message"]["content"] or "") == text
    assert choice["finish_reason"] in ("stop", "length", "tool_calls")
    assert (read.usage is not None) is (request_body.get("stream_options") is not None)
    (draft,) = drafts_of(read, CHAT)
    live = [token for each in payloads for token in decode(each).tokens if token.logprob]
    assert draft.token_logprobs == tuple(token.logprob for token in live)


@pytest.mark.skipif(not RECORDINGS.exists(), reason=missing.kwargs["reason"])
@pytest.mark.parametrize("folder", ["vllm-0.32.0", "vllm-0.32.0-tools", "xllamacpp"])
def test_a_stream_says_what_the_whole_answer_said(folder: str) -> None:
    (stream,) = [
        path for path in (RECORDINGS / folder).glob("stream_logprobs.*") if ".meta" not in path.name
    ]
    whole = (RECORDINGS / folder / "chat_logprobs.json").read_bytes()
    *payloads, _ = EventSplitter().feed(stream.read_bytes())
    body = assembled(*payloads)
    assert body["choices"][0]["message"]["content"] == "The capital of France is Paris."
    assert body.keys() <= json.loads(whole).keys()
    (live,) = drafts_of(read_completion(json.dumps(body).encode()), CHAT)
    (draft,) = drafts_of(read_completion(whole), CHAT)
    assert live.token_logprobs == pytest.approx(draft.token_logprobs, abs=1e-5)
