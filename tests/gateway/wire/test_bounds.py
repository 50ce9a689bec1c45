import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.wires import WIRES
from gateway.errors import ArrayTooLong, BodyTooLarge, RequestError, ValueTooLarge
from gateway.wire import bounds
from gateway.wire.bounds import Bounds, Size, refuse_crowd
from gateway.wire.chat import parse_chat
from gateway.wire.protocol import Wire

CHAT, TEXT = WIRES["/v1/chat/completions"], WIRES["/v1/completions"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('\\"{[:,ab', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('\\"{[:,', max_size=4), inner)
    ),
    max_leaves=12,
)
MUCH = 10**9


def counted(value: object) -> tuple[int, int]:
    """Objects, arrays and named values; and what stands behind others; the slow way."""
    if not isinstance(value, dict | list):
        return 0, 0
    inner = [counted(each) for each in (value.values() if isinstance(value, dict) else value)]
    members = 1 + (len(value) if isinstance(value, dict) else 0) + sum(one for one, _ in inner)
    return members, max(len(value) - 1, 0) + sum(one for _, one in inner)


def test_a_stretch_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(["{[:,", {'a"{,': 'x\\",,'}, ["b", 1]]).encode()
    for size in range(1, len(body) + 1):
        monkeypatch.setattr(bounds, "_STRETCH_BYTES", size)
        refuse_crowd(body, 4, MUCH)
        refuse_crowd(body, MUCH, 3)
        with pytest.raises(BodyTooLarge):
            refuse_crowd(body, 3, MUCH)
        with pytest.raises(BodyTooLarge):
            refuse_crowd(body, MUCH, 2)


@given(JSON)
def test_a_body_passes_exactly_where_it_has_no_more_than_is_allowed(value: object) -> None:
    for is_ascii in (True, False):
        body = json.dumps(value, ensure_ascii=is_ascii).encode()
        members, entries = counted(value)
        refuse_crowd(body, members, MUCH)
        refuse_crowd(body, MUCH, entries)
        if members:
            with pytest.raises(BodyTooLarge, match=f"more than the {members - 1} objects"):
                refuse_crowd(body, members - 1, MUCH)
        if entries:
            with pytest.raises(BodyTooLarge, match=f"more than the {entries - 1} entries"):
                refuse_crowd(body, MUCH, entries - 1)


@pytest.mark.parametrize("junk", [b'"' + b"{" * 50, b"{" * 50, b'\\"{{{{{', b'"\\', b"\xff{{{{{{"])
def test_what_is_no_json_is_counted_without_an_accident(junk: bytes) -> None:
    try:
        refuse_crowd(junk, 5, 5)
    except BodyTooLarge as error:
        assert error.status == 413  # noqa: PT017  # either may come of it


def filled(head: bytes, item: bytes, tail: bytes) -> bytes:
    """Ten mebibytes of one tiny item."""
    return head + (item + b",") * (10 * 2**20 // (len(item) + 1)) + item + tail


@pytest.mark.parametrize(
    ("wire", "head", "item", "tail"),
    [
        (CHAT, b'{"model":"m","messages":[', b'{"role":"u"}', b"]}"),
        (CHAT, b'{"model":"m","messages":[{"role":"u"}],"tools":[', b"1", b"]}"),
        (CHAT, b'{"model":"m","messages":[{"role":"u"}],"tools":[', b"{}", b"]}"),
        (CHAT, b'{"model":"m","messages":[{"role":"u"}],"x":{', b'"a":1', b"}}"),
        (TEXT, b'{"model":"m","prompt":[', b"1", b"]}"),
        (TEXT, b'{"model":"m","prompt":[', b'"a"', b"]}"),
    ],
    ids=["messages", "numbers for tools", "tools", "names", "token ids", "prompts"],
)
def test_ten_megabytes_of_tiny_items_hold_nobody_up(
    wire: Wire, head: bytes, item: bytes, tail: bytes
) -> None:
    body = filled(head, item, tail)

    def read() -> None:
        refuse_crowd(body, 50_000, 2**18)
        wire.read(body, None)

    def refused() -> float:
        started = time.process_time()
        with pytest.raises(RequestError):
            read()
        return time.process_time() - started

    # Reading them takes 0.2 to 0.9 seconds, refusing them some 0.02; the better of two, for the
    # machine may be busy.
    assert min(refused(), refused()) < 0.1


@pytest.mark.parametrize(
    ("param", "size", "choices", "kind"),
    [
        ("messages", Size(messages=11), 1, ArrayTooLong),
        ("messages", Size(parts=12), 1, ArrayTooLong),
        ("tools", Size(tools=13), 1, ArrayTooLong),
        ("n", Size(), 14, ValueTooLarge),
        ("max_tokens", Size(max_tokens=15), 1, ValueTooLarge),
        ("max_completion_tokens", Size(max_completion_tokens=15), 1, ValueTooLarge),
    ],
)
def test_one_above_a_bound_is_refused_by_its_parameter(
    param: str, size: Size, choices: int, kind: type[RequestError]
) -> None:
    at_the_edge = Bounds(messages=11, parts=12, tools=13, choices=14, tokens=15)
    at_the_edge.check(size, choices)
    below = Bounds(messages=10, parts=11, tools=12, choices=13, tokens=14)
    with pytest.raises(kind, match=f"Invalid '{param}'") as caught:
        below.check(size, choices)
    assert caught.value.param == param


def test_a_chat_knows_its_size() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": parts}, {"role": "user", "content": parts[:1]}],
        "tools": [{"type": "function"}],
        "functions": [{"name": "f"}],
        "max_tokens": 7,
        "max_completion_tokens": 9,
    }
    assert parse_chat(json.dumps(body).encode()).size == Size(2, 3, 2, 7, 9)
    assert parse_chat(b'{"model":"m","messages":[{"role":"user","content":"a"}]}').size == Size()
