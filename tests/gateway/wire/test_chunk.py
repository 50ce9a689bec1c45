import json
from typing import Any

import msgspec
import pytest

from gateway.wire.chat import parse_chat
from gateway.wire.chunk import Chunk, decode
from gateway.wire.completion import drafts_of, read_completion
from gateway.wire.sse import EventSplitter
from routing.money import Usage
from routing.streaming import Token
from tests.fakes.chunks import USAGE, chunk, payload, usage_report
from tests.fakes.recordings import RECORDINGS, missing, streams
from tests.fakes.upstream import completion, tokens

SILENT = Token(None, ())
CHAT = parse_chat(b'{"model": "assistant", "messages": [{"role": "user", "content": "x"}]}')


def logprobs_in(read: Chunk) -> list[float | None]:
    return [token.logprob for token in read.tokens]


def test_a_chunk_has_text_and_the_evidence_for_it() -> None:
    body = chunk({"content": "Paris"}, tokens("Paris", logprob=-0.5))
    assert decode(body) == Chunk(
        body=body,
        content="Paris",
        tokens=[Token(-0.5, [-0.5, -5.5])],
        told_tokens=1,
        has_choice=True,
    )


def test_a_chunk_can_have_several_tokens() -> None:
    read = decode(chunk({"content": "Paris."}, [*tokens("Paris"), *tokens(".", logprob=-2.0)]))
    assert logprobs_in(read) == [-0.01, -2.0]


@pytest.mark.parametrize("delta", [None, {}, {"content": None}, {"role": "assistant"}])
def test_a_delta_may_say_nothing(delta: Any) -> None:
    read = decode(chunk(delta))
    assert (read.content, read.reasoning, read.is_tool_call) == ("", "", False)
    assert read.tokens == ()
    assert read.has_choice


def test_a_choice_may_leave_out_its_delta_and_its_index() -> None:
    read = decode(payload(choices=[{"finish_reason": "stop"}]))
    assert read.finish_reason == "stop"
    assert read.has_choice


@pytest.mark.parametrize("choice", [{"logprobs": {}}, {"logprobs": {"content": None}}])
def test_text_without_log_probabilities_is_one_token_without_evidence(choice: Any) -> None:
    assert decode(chunk({"content": "Paris is"}, choice=choice)).tokens == (SILENT,)
    assert decode(chunk({"content": "Paris is"}, [])).tokens == (SILENT,)


def test_part_of_a_character_is_evidence_without_text() -> None:
    read = decode(chunk({"content": ""}, tokens("")))
    assert read.content == ""
    assert logprobs_in(read) == [-0.01]


def test_a_server_without_candidates_gives_empty_rows() -> None:
    entry = tokens("Paris")[0] | {"top_logprobs": None}
    assert decode(chunk({"content": "Paris"}, [entry])).tokens == [Token(-0.01, [])]


@pytest.mark.parametrize(
    ("content", "finish_reason", "last", "is_counted"),
    [
        ("", "stop", "<|im_end|>", False),
        (None, "stop", "", False),
        ("Paris", "stop", "<|im_end|>", False),
        ("Paris.", "stop", ".", True),
        (None, "tool_calls", "<|im_end|>", False),
        ("Paris.", "length", ".", True),
        ("Paris", "length", "<|im_end|>", True),
        ("", None, "x", True),  # the text lags behind where a stop string might begin
    ],
)
def test_only_tokens_that_the_client_reads_are_evidence(
    content: str | None, finish_reason: str | None, last: str, is_counted: bool
) -> None:
    entries = [*tokens("Paris"), *tokens(last, logprob=-7.0)]
    read = decode(chunk({"content": content}, entries, {"finish_reason": finish_reason}))
    assert (-7.0 in logprobs_in(read)) is is_counted
    assert read.end_logprob == (None if is_counted else -7.0)
    assert -0.01 in logprobs_in(read)
    assert read.finish_reason == finish_reason


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_no_evidence_about_the_answer(name: str) -> None:
    alone = decode(chunk({name: "hm"}, tokens("hm")))
    assert (alone.reasoning, alone.content, alone.tokens) == ("hm", "", [])
    entries = [*tokens("hm", "</think>", logprob=-4.0), *tokens("Par", "is")]
    both = decode(chunk({name: "hm", "content": "Paris"}, entries))
    assert (both.reasoning, both.content) == ("hm", "Paris")
    assert logprobs_in(both) == [-0.01, -0.01]
    assert decode(chunk({name: "hm"})).tokens == ()
    assert decode(chunk({name: ""}, tokens(""))).tokens == []
    assert logprobs_in(decode(chunk({name: "", "content": "Paris"}, tokens("Paris")))) == [-0.01]
    assert logprobs_in(decode(chunk({name: None, "content": ""}, tokens("")))) == [-0.01]


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"content": None, "tool_calls": [{"index": 0, "id": "1", "function": {"name": "f"}}]},
        {"reasoning": "", "tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"arguments": "{"}},
    ],
)
def test_a_tool_call_is_told_with_its_tokens(delta: Any) -> None:
    with_evidence = decode(chunk(delta, tokens("{")))
    assert with_evidence.is_tool_call
    assert logprobs_in(with_evidence) == [-0.01]
    without = decode(chunk(delta))
    assert without.is_tool_call
    assert without.tokens == (SILENT,)


@pytest.mark.parametrize("delta", [{"tool_calls": []}, {"tool_calls": None, "function_call": None}])
def test_no_tool_call_is_none(delta: Any) -> None:
    read = decode(chunk(delta))
    assert not read.is_tool_call
    assert read.tokens == ()


def test_evidence_is_passed_over_where_nobody_needs_it() -> None:
    body = chunk({"content": "Paris"}, tokens("Paris"), {"finish_reason": "stop"}, usage=USAGE)
    with_evidence, without = decode(body), decode(body, is_evidence_wanted=False)
    assert without.tokens == ()
    assert without == msgspec.structs.replace(with_evidence, tokens=(), told_tokens=0)
    broken = chunk({"content": ["x"]}, usage=USAGE)
    assert decode(broken, is_evidence_wanted=False).tokens == ()


def test_a_usage_report_has_no_choice() -> None:
    read = decode(usage_report())
    assert read.usage == Usage(input=100, output=10)
    assert read.is_usage_report
    assert not read.has_choice
    assert decode(payload(choices=None, usage=USAGE)).is_usage_report
    assert decode(payload(usage=USAGE)).is_usage_report


def test_a_server_can_count_all_along() -> None:
    read = decode(chunk({"content": "Paris"}, usage=USAGE | {"completion_tokens": 3}))
    assert read.usage == Usage(input=100, output=3)
    assert not read.is_usage_report
    assert decode(chunk({"content": "Paris"}, usage=None)).usage is None


def test_llama_cpp_s_timings_count_where_there_is_no_usage() -> None:
    timings = {"cache_n": 40, "prompt_n": 2, "prompt_ms": 6.4, "predicted_n": 8}
    read = decode(chunk({"content": "Paris"}, timings=timings))
    assert read.usage == Usage(input=42, output=8, cached_input=40)
    assert decode(usage_report(timings=timings)).usage == Usage(input=100, output=10)


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": {}},
        {"usage": {"prompt_tokens": None, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 2**40 + 1, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": -1}},
        {"usage": "much"},
        {"timings": {"cache_n": -1, "prompt_n": 5, "predicted_n": 1}},
        {"timings": {"prompt_n": 2**41, "predicted_n": 1}},
        {"timings": []},
    ],
)
def test_counts_that_are_missing_or_absurd_are_unknown(fields: dict[str, Any]) -> None:
    read = decode(chunk({"content": "Paris"}, tokens("Paris"), **fields))
    assert read.usage is None
    assert logprobs_in(read) == [-0.01]


def test_a_report_that_cannot_be_read_is_a_report() -> None:
    read = decode(usage_report(usage="much"))
    assert read.is_usage_report
    assert read.usage is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "Engine died", "code": 500}, "Engine died"),
        ("Engine died", "Engine died"),
        ({"code": 500}, "no message"),
        ({"message": None}, "no message"),
        ([], "no message"),
        (True, "no message"),
    ],
)
def test_an_error_in_the_stream_is_told(error: Any, message: str) -> None:
    assert decode(json.dumps({"error": error}).encode()).error == message
    assert decode(chunk({"content": "x"}, error=error)).error == message


def test_an_error_that_is_null_is_none() -> None:
    assert decode(chunk({"content": "x"}, error=None)).error is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[DONE]",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"choices": {}}',
        b'{"choices": [1]}',
        b'{"choices": [null]}',
        b'{"choices": [{"delta": "text"}]}',
        b'{"choices": [{"index": "0"}]}',
        b'{"choices": [], "x": "\xff"}',
        b'{"choices": [], "x": ' + b"[" * 950 + b"]" * 950 + b"}",
        b'{"choices": [], "x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
        b'{"choices": [], "usage": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    ],
)
def test_what_is_no_chunk_is_refused(body: bytes) -> None:
    for is_evidence_wanted in (True, False):
        with pytest.raises(ValueError, match=r".+"):
            decode(body, is_evidence_wanted=is_evidence_wanted)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": null}', b'{"type": "ping"}', b'{"object": "list", "data": []}']
)
def test_what_has_nothing_to_do_with_an_answer_is_passed_over(body: bytes) -> None:
    for is_evidence_wanted in (True, False):
        assert decode(body, is_evidence_wanted=is_evidence_wanted) == Chunk(body, is_foreign=True)


def test_an_error_may_come_without_a_frame_of_its_own() -> None:
    body = b'{"object": "error", "message": "Engine died", "code": 500}'
    assert decode(body) == Chunk(body, error="Engine died")


def test_text_that_cannot_be_read_as_text_is_told() -> None:
    part = [{"type": "text", "text": "x"}]
    for is_evidence_wanted in (True, False):
        read = decode(chunk({"content": part}), is_evidence_wanted=is_evidence_wanted)
        assert (read.content, read.has_unread_text) == ("", True)
    assert not decode(chunk({"content": "x"})).has_unread_text


def test_a_second_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="another choice"):
        decode(chunk({"content": "x"}, choice={"index": 1}))
    with pytest.raises(ValueError, match="another choice"):
        decode(payload(choices=[{"index": 0}, {"index": 1}]))


@pytest.mark.parametrize(
    ("delta", "choice"),
    [
        ({"content": "x"}, {"logprobs": {"content": [{"token": "x", "logprob": None}]}}),
        ({"content": "x"}, {"logprobs": {"content": [{"logprob": -0.1}]}}),
        ({"content": "x"}, {"logprobs": [], "finish_reason": 5}),
        ({"content": [{"type": "text", "text": "x"}]}, {}),
        ({"tool_calls": [], "content": 5}, {}),
    ],
)
def test_a_part_that_is_not_as_it_should_be_is_unknown_and_the_rest_counts(
    delta: Any, choice: Any
) -> None:
    read = decode(chunk(delta, choice=choice, usage=USAGE))
    assert read.tokens == (SILENT,)
    assert read.usage == Usage(input=100, output=10)
    assert read.finish_reason is None
    assert read.content == (delta["content"] if delta["content"] == "x" else "")


def test_the_sum_of_the_chunks_is_the_evidence_of_the_whole() -> None:
    entries = [*tokens("The", " capital", logprob=-0.3), *tokens("<|im_end|>", logprob=-7.0)]
    whole = completion("The capital", choice={"logprobs": {"content": entries}})
    (draft,) = drafts_of(read_completion(json.dumps(whole).encode()), CHAT)
    pieces = [({"content": "The"}, None), ({"content": " capital"}, None), ({}, "stop")]
    read = [
        token
        for entry, (delta, finish_reason) in zip(entries, pieces, strict=True)
        for token in decode(chunk(delta, [entry], {"finish_reason": finish_reason})).tokens
    ]
    assert tuple(token.logprob for token in read) == draft.token_logprobs
    rows = zip(draft.best_logprobs, draft.second_logprobs, strict=True)
    assert [tuple(token.top_logprobs) for token in read] == list(rows)


@pytest.mark.parametrize(("request_body", "stream"), streams("stream_*"))
def test_a_recorded_stream_has_evidence_where_it_was_asked_for(
    request_body: dict[str, Any], stream: bytes
) -> None:
    *payloads, _ = EventSplitter().feed(stream)
    read = [decode(each) for each in payloads]
    for each in read:
        assert len(each.tokens) == bool(each.content)
        assert (SILENT in each.tokens) is (bool(each.content) and not request_body.get("logprobs"))
    assert [each.finish_reason for each in read if each.finish_reason] in (["stop"], ["length"])


@pytest.mark.skipif(not (RECORDINGS / "vllm-crash").exists(), reason=missing.kwargs["reason"])
def test_a_recorded_crash_is_an_error() -> None:
    stream = (RECORDINGS / "vllm-crash/crash_inflight_stream.txt").read_bytes()
    *_, last = [decode(each) for each in EventSplitter().feed(stream)[:-1]]
    assert last.error is not None
    assert last.error.startswith("EngineCore encountered an issue.")
