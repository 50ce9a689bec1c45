import pytest

from gateway.trace_context import MAX_STATE_CHARACTERS, UNTRACED, PassingOn, context_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def read(parent: str, *states: bytes) -> bytes:
    headers = [(b"traceparent", parent.encode()), *((b"tracestate", state) for state in states)]
    context = context_of(headers)
    return b"" if context is None else context.lines


def test_a_context_is_handed_on_as_it_came() -> None:
    lines = read(PARENT, b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert lines == (
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        b"tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE\r\n"
    )


def test_states_in_several_headers_are_one_in_their_order() -> None:
    assert b"tracestate: a=1,b=2\r\n" in read(PARENT, b"a=1", b"b=2")


@pytest.mark.parametrize(
    "parent",
    [
        f"cc-{TRACE}-{SPAN}-01",  # a later version is read as far as this one goes
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"00-{TRACE}-{SPAN}-00",
        f" 00-{TRACE}-{SPAN}-ff ",
    ],
)
def test_what_is_well_formed_is_handed_on(parent: str) -> None:
    assert read(parent) == b"traceparent: %b\r\n" % parent.strip().encode()


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 201}",
        f"{PARENT}\r\nauthorization: Bearer x",
    ],
)
def test_what_is_malformed_is_as_if_it_were_not_there(parent: str) -> None:
    assert read(parent, b"a=1") == b""


def test_two_parents_are_none() -> None:
    assert context_of([(b"traceparent", PARENT.encode())] * 2) is None


@pytest.mark.parametrize("state", [b"", b"a=\xff", b"a=1\r\nx: y", b"a" * 513])
def test_a_state_that_cannot_be_handed_on_leaves_the_parent_alone(state: bytes) -> None:
    assert read(PARENT, state) == b"traceparent: %b\r\n" % PARENT.encode()


def test_the_longest_state_is_handed_on() -> None:
    assert b"a" * MAX_STATE_CHARACTERS in read(PARENT, b"a" * MAX_STATE_CHARACTERS)


def test_a_request_without_a_context_costs_no_object() -> None:
    assert PassingOn().begin([(b"host", b"h")]) is UNTRACED
    assert UNTRACED.headers == b""
