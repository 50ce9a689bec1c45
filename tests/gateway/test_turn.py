"""Writes of several requests leave together, in their order, and none is lost."""

import asyncio
from typing import Any

import pytest

from gateway.turn import MOST_BYTES, MOST_WRITES, Turn


class Wire(asyncio.WriteTransport):
    """A transport that remembers what is written, on a list that it shares with others."""

    def __init__(self, written: list[bytes], failure: Exception | None = None) -> None:
        super().__init__()
        self.is_closed = False
        self._written = written
        self._failure = failure

    def write(self, data: Any) -> None:
        if self._failure is not None:
            raise self._failure
        self._written.append(data)

    def is_closing(self) -> bool:
        return self.is_closed


def busy() -> tuple[Turn, list[bytes], Wire]:
    turn = Turn()
    turn.exchanges = 2
    written: list[bytes] = []
    return turn, written, Wire(written)


@pytest.mark.parametrize("exchanges", [0, 1])
async def test_who_is_alone_waits_for_nobody(exchanges: int) -> None:
    turn, written, wire = busy()
    turn.exchanges = exchanges
    assert turn.write(wire, b"a")
    assert written == [b"a"]


async def test_of_several_all_leave_at_the_end_of_the_turn() -> None:
    turn, written, wire = busy()
    turn.write(wire, b"a")
    turn.write(Wire(written), b"b")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"a", b"b"]
    turn.write(wire, b"c")
    await asyncio.sleep(0)
    assert written == [b"a", b"b", b"c"]


async def test_who_is_alone_again_does_not_overtake_what_waits() -> None:
    turn, written, wire = busy()
    turn.write(wire, b"a")
    turn.exchanges = 1
    turn.write(wire, b"b")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"a", b"b"]
    turn.write(wire, b"c")
    assert written == [b"a", b"b", b"c"]


async def test_no_more_than_so_many_wait() -> None:
    turn, written, wire = busy()
    for number in range(MOST_WRITES - 1):
        turn.write(wire, b"%d" % number)
    assert written == []
    assert turn.write(wire, b"last")
    assert len(written) == MOST_WRITES
    turn.write(wire, b"next")
    await asyncio.sleep(0)
    assert written[MOST_WRITES:] == [b"next"]


async def test_a_large_one_takes_with_it_what_waits() -> None:
    turn, written, wire = busy()
    turn.write(wire, b"a")
    assert not turn.write(wire, b"b" * MOST_BYTES)
    assert written == []
    turn.write(wire, b"c" * (MOST_BYTES + 1))
    assert [data[:1] for data in written] == [b"a", b"b", b"c"]


async def test_one_that_closes_meanwhile_holds_up_nobody() -> None:
    turn, written, wire = busy()
    gone = Wire(written)
    failing = Wire(written, RuntimeError("unable to perform operation; the handler is closed"))
    for each, data in ((gone, b"a"), (failing, b"b"), (wire, b"c")):
        turn.write(each, data)
    gone.is_closed = True
    await asyncio.sleep(0)
    assert written == [b"c"]


async def test_a_loop_has_one() -> None:
    loop = asyncio.get_running_loop()
    assert Turn.of(loop) is Turn.of(loop)
    other = asyncio.new_event_loop()
    assert Turn.of(other) is not Turn.of(loop)
    other.close()
