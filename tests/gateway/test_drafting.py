"""What a draft holds while it is written: all that somebody may still ask for, and no more."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from gateway.drafting import Drafting, Window
from gateway.legs import OpenLeg
from gateway.wire.chat import parse_chat
from gateway.wire.chunk import Chunk
from gateway.wire.chunk_reader import ChunkReader
from routing.cascade import Keep
from routing.policy import uncalibrated_streamed
from routing.streaming import Gate, Release
from routing.vocabulary import Handover
from tests.fakes.chunks import chunk
from tests.fakes.script import entry

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}
WINDOW = 16
WORD = " word"


class Leg:
    """A student that has written some chunks, and is read one at a time."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = iter(chunks)
        self.until: float | None = None  # of the last read

    async def read(self, until: float | None) -> Sequence[Chunk]:
        self.until = until
        return [each] if (each := next(self._chunks, None)) else ()

    def close(self) -> None:
        pass


def drafting(*payloads: bytes, is_all_wanted: bool = False, until: float | None = None) -> Drafting:
    reader = ChunkReader(is_evidence_wanted=True)
    leg = cast(OpenLeg, Leg([reader.read(each) for each in payloads]))
    chat = parse_chat(json.dumps(QUESTION).encode())
    window = Window(Handover.NEVER, until, is_all_wanted)
    return Drafting(leg, Gate(uncalibrated_streamed(), WINDOW), chat, window)


def words(count: int) -> list[bytes]:
    return [chunk({"content": WORD}, [entry(WORD, -0.01)]) for _ in range(count)]


def call(*pieces: str) -> list[bytes]:
    """A tool call in pieces, and the end."""
    head = {"id": "call-0", "type": "function", "function": {"name": "weather", "arguments": ""}}
    parts: list[dict[str, Any]] = [head, *({"function": {"arguments": each}} for each in pieces)]
    deltas = [{"tool_calls": [{"index": 0, **part}]} for part in parts]
    ending = chunk({}, choice={"finish_reason": "tool_calls"})
    return [*(chunk(delta, [entry("x", -0.01)]) for delta in deltas), ending]


async def read_whole(draft: Drafting) -> None:
    while not draft.is_over:
        decision = await draft.advance()
        if isinstance(decision, Release):
            draft.take(decision.tokens)


def message_of(draft: Drafting) -> Any:
    return json.loads(draft.assembly.body())["choices"][0]["message"]


async def test_a_draft_that_is_out_is_known_by_its_text_alone() -> None:
    draft = drafting(*words(40), *call())
    for _ in range(40):
        decision = await draft.advance()
        assert not isinstance(decision, Release) or draft.take(decision.tokens)
    (choice,) = json.loads(draft.assembly.body())["choices"]
    assert choice["message"]["content"] == draft.words == WORD * 40
    assert "logprobs" not in choice


async def test_of_a_draft_that_is_wanted_all_is_known_though_it_is_out() -> None:
    draft = drafting(*words(40), is_all_wanted=True)
    await read_whole(draft)
    (choice,) = json.loads(draft.assembly.body())["choices"]
    assert choice["message"]["content"] == WORD * 40
    assert len(choice["logprobs"]["content"]) == 40


@pytest.mark.parametrize("before", [3, WINDOW, 40])
async def test_a_tool_call_is_judged_with_its_end_however_much_text_is_out(before: int) -> None:
    draft = drafting(*words(before), *call('{"city":', ' "Paris"}'))
    await read_whole(draft)
    assert isinstance(draft.gate.verdict, Keep)
    assert draft.gate.doubt is None
    message = message_of(draft)
    assert message["content"] == WORD * before
    assert message["tool_calls"][0]["function"]["arguments"] == '{"city": "Paris"}'


async def test_a_tool_call_that_is_none_is_in_doubt_where_text_is_out() -> None:
    draft = drafting(*words(40), *call('{"city":'))
    await read_whole(draft)
    assert draft.gate.doubt is not None


async def test_only_a_draft_that_is_held_back_is_read_up_to_a_time() -> None:
    draft = drafting(*words(WINDOW + 1), until=9.0)
    leg = cast(Leg, draft.leg)
    for _ in range(WINDOW):
        await draft.advance()
        assert leg.until == 9.0
    await draft.advance()
    assert leg.until is None


async def test_chunks_go_out_up_to_the_tokens_that_are_released() -> None:
    draft = drafting(*words(3))
    for _ in range(3):
        await draft.advance()
    assert len(draft.take(2)) == 2
    assert not draft.take(2)
    assert len(draft.take(3)) == 1
    assert not draft.take(3)
