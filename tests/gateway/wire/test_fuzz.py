"""Whatever clients and servers send, parsers say that it is wrong in the one way that callers know.

A failing case is printed with the number of its round; `_look` with that number alone finds it
again.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from gateway.api.wires import MESSAGES_PATH, WIRES
from gateway.errors import GatewayError, RequestError
from gateway.wire.admission import Admission
from gateway.wire.assemble import Assembly
from gateway.wire.bounds import refuse_crowd
from gateway.wire.chat import Dialect, Form, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion, drafts_of, read_completion
from gateway.wire.errors import read_refusal
from gateway.wire.media import MediaRules
from gateway.wire.messages.counting import COUNT_ROUTES, count_in
from gateway.wire.messages.request import parse_request as parse_message
from gateway.wire.passing import read_passed, read_reply
from gateway.wire.protocol import Asked
from gateway.wire.received import Received, characters_in
from gateway.wire.server import SERVER_FORMS
from gateway.wire.session import session_of
from gateway.wire.sse import EventSplitter, is_done
from gateway.wire.stored import read_listing, read_update
from tests.fakes.mutations import invented, nearly, pieces, replies, requests, streams

EXAMPLES = 40  # of each property in a run without --full
ROUND = 200
SECONDS_IN_FULL = 600
# What is read of a server is refused with these, and what is read of a client with RequestError.
UNREADABLE = (ValueError, RecursionError)
MOST_SECONDS = 1.0  # of a processor, for bodies of at most some 30 kB
TRAILER = {"served_by": "student", "reason": "confident", "cost_usd": None}
DIALECT = Dialect("upstream", is_evidence_wanted=True, has_running_usage=True, extra={})


_chat = b'{"model":"m","messages":[{"role":"user","content":"?"}]%s}'
ASKED: Sequence[tuple[str, bytes]] = (
    ("/v1/chat/completions", _chat % b""),
    (
        "/v1/chat/completions",
        _chat % b',"n":2,"logprobs":true,"top_logprobs":1,"response_format":{"type":"json_object"}',
    ),
    ("/v1/chat/completions", _chat % b',"stream":true,"stream_options":{"include_usage":true}'),
    (
        "/v1/chat/completions",
        _chat % b',"logprobs":true,"tools":[{"type":"function","function":{"name":"f"}}]',
    ),
    ("/v1/completions", b'{"model":"m","prompt":"?","logprobs":1,"stream":true}'),
    ("/v1/completions", b'{"model":"m","prompt":["?","!"],"echo":true}'),
    ("/v1/responses", b'{"model":"m","input":"?","stream":true}'),
    (
        "/v1/responses",
        b'{"model":"m","input":"?","top_logprobs":3,"include":["message.output_text.logprobs"]}',
    ),
    (
        "/v1/messages",
        (
            b'{"model":"m","max_tokens":9,"stop_sequences":["x"],'
            b'"messages":[{"role":"user","content":"?"},{"role":"assistant","content":"Pa"}]}'
        ),
    ),
)


def asked() -> list[Asked]:
    return [WIRES[path].read(body, None) for path, body in ASKED]


@cache
def searches() -> Mapping[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]]:
    """What is looked for, and where."""
    asking, whole, bit_by_bit = requests(), replies(), streams()
    cuts = st.lists(st.floats(0, 1), max_size=8)
    framed = invented(bit_by_bit + whole).map(lambda payload: b"data: " + payload + b"\n\n")
    events = st.lists(framed, min_size=1, max_size=4).map(b"".join)
    return {
        "requests": (_check_request, st.one_of(nearly(asking), invented(asking))),
        "replies": (_check_reply, st.one_of(nearly(whole), invented(whole))),
        "streams": (_check_stream, st.tuples(nearly(bit_by_bit), cuts)),
        "events": (_check_stream, st.tuples(events, cuts)),
    }


@pytest.mark.parametrize("kind", ["requests", "replies", "streams", "events"])
def test_what_is_nearly_right_is_read_or_refused(kind: str) -> None:
    _look(*searches()[kind])


@pytest.mark.full
@pytest.mark.timeout(SECONDS_IN_FULL + 120)
def test_ten_minutes_of_it() -> None:
    """Each in its turn: a long look finds what takes two accidents."""
    look_for(SECONDS_IN_FULL)


def look_for(seconds: float) -> None:
    """Look as long as that in all."""
    end, number = time.monotonic() + seconds, 1
    while time.monotonic() < end:
        for check, strategy in searches().values():
            _look(check, strategy, number=number, examples=ROUND)
        number += 1


def _look(
    check: Callable[[Any], None],
    strategy: st.SearchStrategy[Any],
    *,
    number: int = 0,
    examples: int = EXAMPLES,
) -> None:
    """Look for a case that breaks a property, in a round that comes out the same every time."""

    def timed(case: Any) -> None:
        begun = time.process_time()
        check(case)
        assert time.process_time() - begun < MOST_SECONDS

    search = settings(
        max_examples=examples,
        derandomize=False,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(seed(number)(given(strategy)(timed)))
    try:
        search()
    except BaseException as error:
        error.add_note(f"found in round {number} of {check.__name__}")
        raise


# --- what clients send ------------------------------------------------------------------------


def _check_request(body: bytes) -> None:
    for path, wire in WIRES.items():
        try:
            refuse_crowd(body, 100_000, 100_000)
            one = wire.read(body, None)
            Admission().check(one.chat)
        except RequestError as error:
            _check_error(path, error)
        else:
            _check_asked(one, len(body))
    _check_others(body)


def _check_asked(one: Asked, size: int) -> None:
    chat = one.chat
    form = SERVER_FORMS[chat.form]
    session_of(chat, None)
    for param in ("messages[0].content[1].image_url", "n", "max_tokens", "tools[3]", "made_up"):
        assert one.client_param(param)
    written = [form.body(chat, DIALECT), form.stream_body(chat, DIALECT, None)]
    if chat.can_go_on and chat.choices == 1:
        written.append(form.stream_body(chat, DIALECT, Prefix("Once ", 1)))
    for each in written:
        assert msgspec.json.decode(each)["model"] == "upstream"
        assert len(each) <= 8 * size + 4096
    for name in ("stream", "store", "metadata", "understudy"):
        assert name not in msgspec.json.decode(written[0])


def _check_others(body: bytes) -> None:
    """Routes with parsers of their own."""
    try:
        counted = parse_message(body, None, is_count=True)
        for route in COUNT_ROUTES:
            assert msgspec.json.decode(route.body(counted, DIALECT))["model"] == "upstream"
    except RequestError as error:
        _check_error(MESSAGES_PATH, error)
    try:
        passed = read_passed(body)
        passed.refuse_media(MediaRules())
        assert msgspec.json.decode(passed.body_for("upstream"))["model"] == "upstream"
    except RequestError as error:
        _check_error("", error)
    for read in (read_update, read_listing):
        try:
            read(body)
        except RequestError as error:
            _check_error("", error)


def _check_error(path: str, error: GatewayError) -> None:
    told = msgspec.json.decode(
        WIRES.get(path, WIRES["/v1/chat/completions"]).error_body(error, "1")
    )
    if path == MESSAGES_PATH:
        assert told["type"] == "error"
        assert told["error"].keys() <= {"type", "message", "details"}
    else:
        assert told.keys() == {"error"}
        assert told["error"].keys() == {"message", "type", "param", "code"}
    assert error.message


# --- what servers send ------------------------------------------------------------------------


def _check_reply(body: bytes) -> None:
    assert read_refusal(400, body).message
    count_in(body)
    try:
        told = read_reply(body)
    except UNREADABLE:
        pass
    else:
        assert isinstance(json.loads(told.body_for("ours")), dict)
    for one in asked():
        try:
            completion = SERVER_FORMS[one.chat.form].reply(body)
        except UNREADABLE:
            continue
        _check_completion(one, completion)


def _check_completion(one: Asked, completion: Completion) -> None:
    assert len(drafts_of(completion, one.chat)) == len(completion.choices)
    assert characters_in(completion.choices) >= 0
    whole = one.whole(completion)
    assert isinstance(json.loads(whole), dict)
    events = b"".join(one.replay(completion, TRAILER))
    _check_events(events)
    assert len(whole) + len(events) <= 60 * len(completion.body) + 20_000


def _check_stream(case: tuple[bytes, Sequence[float]]) -> None:
    body, cuts = case
    payloads = _split(body, cuts)
    assert payloads == _split(body, ())
    if payloads is None:
        return
    for one in asked():
        _check_chunks(one, payloads)


def _split(body: bytes, cuts: Sequence[float]) -> list[bytes] | None:
    """The payloads of a stream; None where one is too large."""
    splitter, found = EventSplitter(), []
    try:
        for piece in pieces(body, cuts):
            found += splitter.feed(piece)
    except ValueError:
        return None
    rest = splitter.rest()
    return found if rest is None else [*found, rest]


def _check_chunks(one: Asked, payloads: Sequence[bytes]) -> None:
    """All that happens to a stream: read, counted, put together, edited, ended."""
    form, editor = SERVER_FORMS[one.chat.form], one.editor()
    received, assembly, sent = Received(), Assembly(), b""
    last: Chunk | None = None
    for payload in payloads:
        if is_done(payload):
            break
        try:
            chunk = form.chunk(payload, is_evidence_wanted=True)
            form.chunk(payload, is_evidence_wanted=False)
        except UNREADABLE:
            break
        if chunk.error is not None:
            break
        if chunk.is_foreign:
            continue
        received.add(chunk)
        assembly.add(chunk)
        is_end = chunk.finish_reason is not None
        sent += editor.edit(chunk, understudy=TRAILER if is_end else None)
        last = chunk
    if last is None:
        sent += one.error_event(RequestError("Broken off."), "1")
    else:
        sent += editor.usage_event(last.usage_as_sent(), TRAILER)
        sent += editor.closing_event(TRAILER) + editor.done()
        _check_assembled(one, assembly)
    _check_events(sent)
    assert len(sent) <= 60 * sum(map(len, payloads)) + 20_000


def _check_assembled(one: Asked, assembly: Assembly) -> None:
    completion = read_completion(assembly.body())
    assert len(drafts_of(completion, one.chat)) == 1
    assert isinstance(json.loads(one.whole(completion)), dict)  # a server's 1e999 passes as it is


def _check_events(sent: bytes) -> None:
    """A client that reads events finds JSON in each of them."""
    splitter = EventSplitter()
    payloads = splitter.feed(sent)
    assert splitter.rest() is None
    for payload in payloads:
        if not is_done(payload):
            assert isinstance(json.loads(payload), dict)


def test_a_crash_would_be_found() -> None:
    def brittle(body: bytes) -> None:
        try:
            SERVER_FORMS[Form.CHAT].reply(body)
        except UNREADABLE:
            return
        raise KeyError("choices")

    with pytest.raises(KeyError) as found:
        _look(brittle, nearly(replies()))
    assert found.value.__notes__[-1] == "found in round 0 of brittle"
