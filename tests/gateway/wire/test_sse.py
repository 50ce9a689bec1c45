import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import MAX_EVENT_BYTES, EventSplitter, is_done
from tests.fakes.recordings import RECORDINGS, missing, streams

CRASH = RECORDINGS / "vllm-crash/crash_inflight_stream.txt"


def split(*received: bytes) -> list[bytes]:
    splitter = EventSplitter()
    return [payload for part in received for payload in splitter.feed(part)]


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": comment\n\ndata: a\n\n: comment\n\n", [b"a"]),
        (b"event: message\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\nevent: message\n\n", [b"a"]),
        (b"data\ndatum: a\n\n", []),
        (b"data:\n\ndata: \n\n", []),
        (b"\n\n\n", []),
        (b"data: a\n", []),
        (b"data: a\rb\n\n", [b"a\rb"]),
        (b"", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf\ndata: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    ],
)
def test_a_stream_is_cut_into_the_data_of_its_events(stream: bytes, payloads: list[bytes]) -> None:
    assert split(stream) == payloads
    assert split(*(bytes([byte]) for byte in stream)) == payloads


@given(
    st.lists(
        st.sampled_from(
            [b"data: ", b"data:", b"a", b"b\xc3\xa9", b"\r\n", b"\n", b"\n\n", b": c", b"event: e"]
        )
    ).map(b"".join),
    st.data(),
)
def test_events_do_not_depend_on_how_their_bytes_arrive(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, pieces = EventSplitter(), EventSplitter()
    assert [each for part in parts for each in pieces.feed(part)] == whole.feed(stream)
    assert pieces.rest() == whole.rest()


@pytest.mark.parametrize(
    ("stream", "rest"),
    [
        (b"", None),
        (b"data: a\n\n", None),
        (b"data: a\n\n: bye", None),
        (b"data: a\n", b"a"),
        (b"data: a", b"a"),
        (b"data: a\r", b"a"),
        (b"data: a\n\ndata: b\ndata: c", b"b\nc"),
        (b"da", None),
    ],
)
def test_an_event_without_its_end_is_told_when_the_stream_is_over(
    stream: bytes, rest: bytes | None
) -> None:
    splitter = EventSplitter()
    splitter.feed(stream)
    assert splitter.rest() == rest


def test_an_event_has_a_largest_size() -> None:
    line = b"data: " + b"x" * (MAX_EVENT_BYTES - 6)
    (payload,) = split(line + b"\n\n")
    assert len(payload) == MAX_EVENT_BYTES - 6
    for parts in [(line + b"x",), (line, b"x"), (line + b"\n", b"data: x\n"), (line + b"\n", b"x")]:
        with pytest.raises(ValueError, match="more than 1048576 bytes"):
            split(*parts)


def test_events_comments_and_other_fields_do_not_add_up() -> None:
    half = b"x" * (MAX_EVENT_BYTES // 2)
    assert len(split(*[b"data: " + half + b"\n\n"] * 3)) == 3
    assert split(*[b": " + half + b"\n"] * 3, b"data: a\n\n") == [b"a"]
    assert split(*[b": " + half, b"\n"] * 3, b"data: a\n\n") == [b"a"]


@pytest.mark.parametrize(
    ("payload", "expected"), [(b"[DONE]", True), (b" [DONE]\n", True), (b"{}", False), (b"", False)]
)
def test_the_end_is_known(payload: bytes, expected: bool) -> None:
    assert is_done(payload) is expected


@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_recorded_stream_is_chunks_and_the_end(
    request_body: dict[str, Any], stream: bytes
) -> None:
    *chunks, end = split(stream)
    assert is_done(end)
    assert {json.loads(chunk)["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len(chunks) == stream.count(b"data: {")


@pytest.mark.skipif(not CRASH.exists(), reason=missing.kwargs["reason"])
def test_a_server_that_crashed_sends_an_error_and_then_the_end() -> None:
    # The recording has the lines of the transfer coding in it, which are no fields.
    *_, error, end = split(CRASH.read_bytes())
    assert json.loads(error)["error"]["code"] == 500
    assert is_done(end)


LINES = (
    *(b"data: a", b"data:b", b"data: ", b"data", b"event: c", b": d", b"data: \r", b"e\r", b"\n"),
    *(b"\n\n", b"\r\n", b"\r\n\r\n", b"data: f\n\n", b"data: g\n\ndata: h\n\n", b"data: i\r\n\n"),
)


@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_events_that_come_whole_are_read_as_those_that_come_by_the_byte(parts: list[bytes]) -> None:
    at_once, slowly = EventSplitter(), EventSplitter()
    at_once.feed(b": begun\n")
    slowly.feed(b": begun\n")
    by_the_byte = [payload for byte in b"".join(parts) for payload in slowly.feed(bytes([byte]))]
    assert [payload for part in parts for payload in at_once.feed(part)] == by_the_byte
    assert at_once.rest() == slowly.rest()
