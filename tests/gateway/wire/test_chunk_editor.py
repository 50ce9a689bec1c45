import json
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.chunk import decode
from gateway.wire.chunk_editor import ChunkEditor
from gateway.wire.sse import EventSplitter
from tests.fakes.chunks import USAGE, chunk, payload, usage_report
from tests.fakes.recordings import streams
from tests.fakes.upstream import tokens


def asked(**changes: Any) -> Chat:
    question = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
    return parse_chat(json.dumps(question | {"stream": True} | changes).encode())


def given(*payloads: bytes, editor: ChunkEditor | None = None, **changes: Any) -> list[Any]:
    """What the client gets of these chunks, decoded."""
    editor = editor or ChunkEditor(asked(**changes))
    events = [editor.edit(decode(each)) for each in payloads]
    return [client_side(event) for event in events if event]


def client_side(event: bytes) -> Any:
    (sent,) = EventSplitter().feed(event)
    return json.loads(sent)


def test_the_client_gets_the_model_it_asked_for_and_no_log_probabilities() -> None:
    (sent,) = given(chunk({"content": "Paris"}, tokens("Paris")))
    assert sent == json.loads(chunk({"content": "Paris"})) | {"model": "assistant"}


def test_a_choice_without_log_probabilities_gets_none() -> None:
    (sent,) = given(payload(choices=[{"index": 0, "delta": {}}]))
    assert sent["choices"] == [{"index": 0, "delta": {}}]


@pytest.mark.parametrize(("wanted", "left"), [(None, 0), (0, 0), (1, 1), (2, 2), (5, 2)])
def test_the_client_gets_as_many_candidates_as_it_asked_for(wanted: int | None, left: int) -> None:
    changes: dict[str, Any] = {} if wanted is None else {"top_logprobs": wanted}
    (sent,) = given(chunk({"content": "Paris"}, tokens("Paris")), logprobs=True, **changes)
    (entry,) = sent["choices"][0]["logprobs"]["content"]
    assert entry["bytes"] == list(b"Paris")
    assert len(entry["top_logprobs"]) == left


@pytest.mark.parametrize("logprobs", [[], {"content": 5}, "x"])
def test_log_probabilities_that_cannot_be_trimmed_are_left_out(logprobs: Any) -> None:
    (sent,) = given(chunk({"content": "x"}, choice={"logprobs": logprobs}), logprobs=True)
    assert sent["choices"][0]["logprobs"] is None


def test_fields_that_nobody_here_knows_reach_the_client() -> None:
    body = chunk(
        {"content": "x", "novelty": {"a": [1, 2.50]}},
        choice={"matched_stop": 7},
        novelty={"b": None},
    )
    (sent,) = given(body)
    assert sent == json.loads(body) | {"model": "assistant"}


def test_all_chunks_have_the_id_and_time_of_the_first() -> None:
    editor = ChunkEditor(asked(stream_options={"include_usage": True}))
    own = given(chunk({"role": "assistant"}), editor=editor)
    followed = given(chunk({"content": "x"}, id="other", created=5), editor=editor)
    report = client_side(editor.usage_event(USAGE))
    for sent in (*own, *followed, report):
        assert sent["id"] == "chatcmpl-1"
        assert sent["created"] == 1_795_454_776
        assert sent["model"] == "assistant"
        assert sent["object"] == "chat.completion.chunk"


def test_a_server_that_names_no_id_gets_none() -> None:
    first, second = given(b'{"choices": [{}]}', chunk({"content": "x"}))
    assert "id" not in first
    assert second["id"] == "chatcmpl-1"


def test_a_continuation_has_no_role_of_its_own() -> None:
    editor = ChunkEditor(asked())
    body = chunk({"role": "assistant", "content": "", "novelty": 1})
    sent = client_side(editor.edit(decode(body), is_continuation=True))
    assert sent["choices"][0]["delta"] == {"content": "", "novelty": 1}
    without = client_side(editor.edit(decode(chunk(None)), is_continuation=True))
    assert without["choices"][0]["delta"] == {}


def test_usage_is_taken_out_unless_the_client_asked() -> None:
    sent = given(
        chunk({"content": "x"}, usage=USAGE), chunk({"content": "x"}, usage=None), usage_report()
    )
    assert len(sent) == 2
    assert all("usage" not in each for each in sent)


def test_usage_is_null_until_the_last_chunk() -> None:
    editor = ChunkEditor(asked(stream_options={"include_usage": True}))
    sent = given(
        chunk({"content": "x"}),
        chunk({"content": "x"}, usage=USAGE),
        usage_report(timings={"cache_n": 1}, system_fingerprint="vllm"),
        editor=editor,
    )
    assert [each["usage"] for each in sent] == [None, None]
    last = client_side(editor.usage_event(USAGE, {"answered_by": "student"}))
    assert last == json.loads(usage_report()) | {
        "model": "assistant",
        "timings": {"cache_n": 1},
        "system_fingerprint": "vllm",
        "understudy": {"answered_by": "student"},
    }


def test_usage_passes_as_the_server_sent_it() -> None:
    usage = USAGE | {"novelty": {"a": 1}}
    raw = decode(usage_report(usage)).usage_as_sent()
    assert raw is not None
    last = client_side(ChunkEditor(asked()).usage_event(raw))
    assert last["usage"] == usage
    assert last["choices"] == []
    assert "understudy" not in last
    assert client_side(ChunkEditor(asked()).usage_event(None))["usage"] is None
    assert decode(chunk({})).usage_as_sent() is None
    assert decode(chunk({}, usage=None)).usage_as_sent() is None


def test_the_last_chunk_can_say_who_answered() -> None:
    editor = ChunkEditor(asked())
    read = decode(chunk({}, choice={"finish_reason": "stop"}))
    sent = client_side(editor.edit(read, understudy={"answered_by": "student"}))
    assert sent["understudy"] == {"answered_by": "student"}
    assert editor.done() == b"data: [DONE]\n\n"


def test_a_chunk_without_choices_that_is_no_bill_passes() -> None:
    (sent,) = given(payload(choices=[], prompt_filter_results=[1]))
    assert sent["choices"] == []
    assert sent["prompt_filter_results"] == [1]


def test_a_chunk_that_is_printed_over_many_lines_is_one_line_an_event() -> None:
    body = json.dumps(json.loads(chunk({"content": "x"}, novelty={"a": 1})), indent=2)
    (sent,) = given(body.replace("\n", "\r\n").encode())
    assert sent["novelty"] == {"a": 1}


@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_recorded_stream_reaches_the_client_unchanged(
    request_body: dict[str, Any], stream: bytes
) -> None:
    question = request_body | {"model": "assistant"}
    try:
        chat = parse_chat(json.dumps(question).encode())
    except RequestError:
        pytest.skip("llama.cpp accepts what OpenAI and the gateway refuse")
    *payloads, _ = EventSplitter().feed(stream)
    sent = given(*payloads, editor=ChunkEditor(chat))
    recorded = [json.loads(each) for each in payloads]
    expected = [each for each in recorded if each["choices"]]
    assert len(sent) == len(expected)
    for got, wanted in zip(sent, expected, strict=True):
        wanted["model"] = "assistant"
        wanted.pop("usage", None)
        if chat.is_usage_wanted:
            wanted["usage"] = None
        logprobs = wanted["choices"][0].get("logprobs")
        for entry in (logprobs or {}).get("content", ()):
            entry["top_logprobs"] = entry["top_logprobs"][: request_body.get("top_logprobs") or 0]
        assert got == wanted
