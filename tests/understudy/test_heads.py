"""A head that is known by its bytes is understood as the parser understands it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given as holds_for
from hypothesis import strategies as st

from tests.fakes.turns import turns
from tests.understudy.test_replying import POST, at_once, until
from tests.understudy.test_web_server import connected, whole_body
from understudy.heads import MAX_KNOWN_BYTES, KnownHead

SCOPE: dict[str, Any] = {"headers": [(b"content-length", b"1")], "state": {}}
HEAD = POST % (1, b"")


class Heard:
    """An application that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await whole_body(receive)
        apart = ("extensions", "client", "server")
        said = {name: value for name, value in scope.items() if name not in apart}
        self.asked.append((said, body))
        await at_once({})(scope, receive, send)


class Counting:
    """A parser that counts what it is fed."""

    def __init__(self, parser: Any) -> None:
        self.fed = 0
        self._parser = parser

    def feed_data(self, data: bytes) -> None:
        self.fed += 1
        self._parser.feed_data(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


async def asked(*pieces: bytes, can_know: bool = True) -> tuple[list[tuple[Any, bytes]], int]:
    """What an application hears of requests that come in pieces, and how often they were parsed."""
    heard = Heard()
    async with connected(heard) as (_, connection, _, _):
        if not can_know:
            connection._lessons = 1000
        parser = Counting(connection.parser)
        connection.parser = parser  # type: ignore[assignment]
        for piece in pieces:
            if not connection.transport.is_closing():
                connection.data_received(piece)
            await turns(5)
        await turns(50)  # all are answered by then of which no more is to come
        return heard.asked, parser.fed


def request(body: bytes, *lines: bytes, target: bytes = b"/x", name: bytes = b"host") -> bytes:
    head = b"".join([b"%b\r\n" % line for line in lines])
    length = b"Content-Length: %d" % len(body)
    return b"POST %b HTTP/1.1\r\n%b: x\r\n%b\r\n%b\r\n%b" % (target, name, length, head, body)


async def test_only_the_first_of_requests_with_one_head_is_parsed() -> None:
    heard, parsed = await asked(request(b"a"), request(b"bc"), request(b""), request(b"x" * 1000))
    assert [body for _, body in heard] == [b"a", b"bc", b"", b"x" * 1000]
    assert parsed == 1
    lengths = [dict(scope["headers"])[b"content-length"] for scope, _ in heard]
    assert lengths == [b"1", b"2", b"0", b"1000"]


async def test_what_one_request_does_to_its_scope_the_next_does_not_see() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((dict(scope), list(scope["headers"]), dict(scope["state"])))
        scope["headers"].append((b"x", b"y"))
        scope["state"]["x"] = scope["x"] = 1
        await at_once({})(scope, receive, send)

    async with connected(app) as (_, connection, _, _):
        for _ in range(3):
            connection.data_received(request(b"a"))
            await until(lambda: connection.cycle.response_complete)  # type: ignore[union-attr]
    assert all("x" not in scope and "x" not in state for scope, _, state in seen)
    assert seen[0][1] == seen[1][1] == seen[2][1]


OTHERS = [
    pytest.param(request(b"a", target=b"/y"), id="target"),
    pytest.param(request(b"a", b"more: 1"), id="header"),
    pytest.param(request(b"a", name=b"Host"), id="letters"),
    pytest.param(request(b"ab") + request(b"c"), id="two at once"),
    pytest.param(b"\r\n" + request(b"a"), id="an empty line before it"),
    pytest.param(request(b"a", b"transfer-encoding: chunked"), id="two lengths"),
    pytest.param(b"POST /x HTTP/1.1\r\nhost: x\r\nContent-Length: +1\r\n\r\na", id="no number"),
    pytest.param(b"POST /x HTTP/1.1\r\nhost: x\r\nContent-Length: \r\n\r\n", id="nothing"),
    pytest.param(b"POST /x HTTP/1.1\r\nhost: x\r\nContent-Length: 1\n\r\na", id="line end"),
]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_request_is_parsed(other: bytes) -> None:
    heard, parsed = await asked(request(b"a"), other)
    without, _ = await asked(request(b"a"), other, can_know=False)
    assert heard == without
    assert parsed == 2


AFTER_OTHERS = [
    pytest.param(
        [request(b"a", target=b"/y") + request(b"b"), request(b"c", target=b"/y")], id="two"
    ),
    pytest.param(
        [request(b"a"), request(b"b") + b"POS", request(b"c"), b"T /y HTTP/1.1\r\nhost: x\r\n\r\n"],
        id="half a method",
    ),
    pytest.param(
        [request(b"a"), request(b"b") + b"POST /y HTTP/1.1\r\nz: ", request(b"c")], id="half a head"
    ),
    pytest.param(
        [request(b"a") + b"POS", b"T /y HTTP/1.1\r\nz: ", request(b"c")], id="from the first"
    ),
]


@pytest.mark.parametrize("pieces", AFTER_OTHERS)
async def test_what_came_behind_another_request_is_not_taken_for_its_head(
    pieces: list[bytes],
) -> None:
    assert (await asked(*pieces))[0] == (await asked(*pieces, can_know=False))[0]


async def test_a_body_that_comes_in_pieces_is_parsed() -> None:
    whole = request(b"abc")
    heard, parsed = await asked(whole, whole[:-2], whole[-2:], whole[:20], whole[20:], whole)
    assert [body for _, body in heard] == [b"abc"] * 4
    assert parsed == 5


@pytest.mark.parametrize(
    "line", [b"expect: 100-continue", b"connection: close", b"connection: upgrade\r\nupgrade: h2c"]
)
async def test_a_head_that_asks_for_more_than_an_answer_is_not_remembered(line: bytes) -> None:
    heard = Heard()
    async with connected(heard) as (_, connection, _, _):
        connection.data_received(request(b"a", line))
        assert connection._known_head is None


async def test_a_client_with_ever_new_heads_is_not_learnt_from_for_ever() -> None:
    heads = [request(b"a", b"number: %d" % number) for number in range(9)]
    _, parsed = await asked(*heads, heads[3], heads[8])
    assert parsed == 10  # all but the fourth, once more


async def test_the_last_of_a_server_that_ends_says_so() -> None:
    async with connected(Heard()) as (server, connection, writer, reader):
        writer.write(request(b"a"))
        assert b"close" not in await reader.readuntil(b"ok")
        server.end_connections(5)
        writer.write(request(b"b"))
        assert b"connection: close" in await reader.read()
        assert connection.transport.is_closing()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 1 \r\n\r\n",
        b"POST /x HTTP/1.1\r\nx: Content-Length: 1\r\n\r\n",
    ],
)
def test_a_head_whose_length_is_not_plain_is_not_known(head: bytes) -> None:
    assert KnownHead.of(head + b"a", SCOPE) is None


def test_a_head_is_known_up_to_a_bound() -> None:
    longest = MAX_KNOWN_BYTES - len(HEAD) - len(b"y: \r\n")

    def known(size: int) -> KnownHead | None:
        return KnownHead.of(HEAD[:-2] + b"y: %b\r\n\r\na" % (b"z" * size), SCOPE)

    assert known(longest) is not None
    assert known(longest + 1) is None


PIECES = st.lists(
    st.sampled_from(
        [
            request(b"a"),
            request(b"bc"),
            request(b"de", b"more: 1"),
            request(b"fg", b"connection: keep-alive"),
            request(b"hi" * 3000),
            b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n",
            b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ]
    ),
    max_size=6,
)


@holds_for(PIECES, st.lists(st.integers(1, 400), max_size=8))
def test_requests_are_heard_the_same_however_they_come(sent: list[bytes], cuts: list[int]) -> None:
    stream, pieces = b"".join(sent), []
    for cut in cuts:
        pieces.append(stream[:cut])
        stream = stream[cut:]
    pieces = [piece for piece in [*pieces, stream] if piece] if cuts else list(sent)
    if not cuts and len(pieces) > 2:
        pieces[:2] = [pieces[0] + pieces[1]]

    async def both() -> None:
        known, _ = await asked(*pieces)
        parsed, _ = await asked(*pieces, can_know=False)
        assert known == parsed
        assert [body for _, body in known] == [
            request.partition(b"\r\n\r\n")[2].replace(b"2\r\nab\r\n0\r\n\r\n", b"ab")
            for request in sent
        ]

    asyncio.run(both())


# What a head is made of, and what could end it sooner, or later, than it seems.
PARTS = (
    b"\r\n|\n|\r| |\t|:|\r\n\r\n|\n\n|\r\n |\0|\xff|HTTP/1.0|HTTP/2.0|+|0|1|1, 1|a|"
    b"content-length: 1\r\n|Content-Length:\t01\r\n|transfer-encoding: chunked\r\n|"
    b"transfer-encoding: identity\r\n|connection: keep-alive\r\n|connection: upgrade\r\n|"
    b"connection: close\r\n|upgrade: h2c\r\n|expect: 100-continue\r\n|POS|POST /y HTTP/1.1\r\nz: "
).split(b"|")
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(PARTS), st.integers(0, 2)), min_size=1, max_size=4
)


def edited(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """The data with parts put in, each in place of so many bytes."""
    for share, part, length in edits:
        place = int(share * len(data))
        data = data[:place] + part + data[place + length :]
    return data


@holds_for(st.sampled_from([b"", b"a", b"abcde"]), EDITS, st.permutations(range(5)))
def test_what_is_nearly_such_a_request_is_heard_the_same(
    body: bytes, edits: list[tuple[float, bytes, int]], order: list[int]
) -> None:
    plain = request(body, b"connection: keep-alive")
    odd = edited(plain, edits)
    longer = odd.replace(b"ength: %d" % len(body), b"ength: %d" % (len(body) + 1)) + b"z"
    pieces = [[plain, odd, odd, longer, plain + odd][place] for place in order]

    async def both() -> None:
        assert (await asked(*pieces))[0] == (await asked(*pieces, can_know=False))[0]

    asyncio.run(both())
