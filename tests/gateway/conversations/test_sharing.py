"""Replicas share turns while the store is there, and lose none that they have room for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.conversations import sharing
from gateway.conversations.memory import Known
from gateway.conversations.sharing import MOST_PAGES, TurnSharing
from gateway.conversations.talks import Heard, Talks
from gateway.ports import Trouble
from gateway.stores.failures import Failure
from gateway.stores.store import StoreFailed
from gateway.stores.turn_store import MOST_IN_ENTRY, Page
from routing.conversation import ID_BYTES, Talk, Turn
from tests.fakes.serving import cascade_document, load_gateway

NAME = bytes(ID_BYTES)
AWAY = Failure("ConnectionError", Trouble("redis:6379"), is_of_server=True, is_of_place=True)


def turn(number: int) -> Heard:
    key = number.to_bytes(ID_BYTES, "big")
    return Heard(key, Known(key, Talk(turns=1)))


@dataclass
class FakeLog:
    """Keeps what it is told; the pages that it gives are the test's."""

    told: list[tuple[str, Sequence[Heard]]] = field(default_factory=list)
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    is_away: bool = False
    is_closed: bool = False

    async def tell(self, cascade: str, turns: Sequence[Heard]) -> None:
        if self.is_away:
            raise StoreFailed(AWAY)
        self.told.append((cascade, turns))

    async def read(self, cascade: str, after: bytes) -> Page:
        self.asked.append((cascade, after))
        return self.pages.pop(0) if self.pages else Page([], after, is_full=False)

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Scene:
    log: FakeLog
    turns: TurnSharing
    talks: Talks
    news: list[object]

    async def round(self) -> None:
        await self.turns.round(self.log)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    document = cascade_document("http://s", "http://t", conversation={"sticky_turns": 1})
    plain = cascade_document("http://s", "http://t")
    context = load_gateway(tmp_path, document, others={"plain": plain}).context
    context.epoch = lambda: 1_000_000.0
    news: list[object] = []
    monkeypatch.setattr(context.observer, "turns_shared", news.append)
    talks = context.served["assistant"].talks
    assert talks is not None
    return Scene(log := FakeLog(), TurnSharing(context, log), talks, news)


async def test_cascade_that_remembers_tells_of_its_turns_and_hears_of_others(scene: Scene) -> None:
    scene.log.pages = [
        Page([turn(1)], b"7-0", is_full=True),
        Page([turn(2)], b"8-0", is_full=False),
    ]
    scene.talks.unshared.extend(map(turn, range(10, 10 + MOST_IN_ENTRY + 1)))
    await scene.round()
    await scene.round()
    assert [(name, len(turns)) for name, turns in scene.log.told] == [
        ("assistant", MOST_IN_ENTRY),
        ("assistant", 1),
    ]
    assert scene.log.asked == [
        ("assistant", b"999400000"),
        ("assistant", b"7-0"),
        ("assistant", b"8-0"),
    ]
    assert scene.talks.begin(turn(2).key, 0.0).talk == Talk(turns=1)
    assert scene.news == []


async def test_turns_wait_for_a_store_that_is_away(scene: Scene) -> None:
    scene.log.is_away = True
    for number in range(2):
        scene.talks.unshared.append(turn(number))
        await scene.round()
    assert list(scene.talks.unshared) == [turn(0), turn(1)]
    scene.log.is_away = False
    await scene.round()
    assert scene.log.told == [("assistant", [turn(0), turn(1)])]
    assert scene.news == [("ConnectionError", AWAY.trouble), None]  # each said once


async def test_turns_that_nobody_will_hear_of_are_counted(scene: Scene) -> None:
    scene.talks.dropped = 3
    await scene.round()
    await scene.round()
    registry = scene.turns.context.observer.metrics.registry
    name, labels = "understudy_conversation_turns_dropped_total", {"cascade": "assistant"}
    assert registry.get_sample_value(name, labels) == 3


async def test_one_round_does_not_read_for_ever(scene: Scene) -> None:
    scene.log.pages = [Page([], b"%d-0" % number, is_full=True) for number in range(99)]
    await scene.round()
    assert len(scene.log.asked) == MOST_PAGES


async def test_the_last_turns_are_told_of_at_the_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "ROUND_SECONDS", 60.0)
    async with scene.turns.running():
        scene.talks.end(scene.talks.begin(NAME, 0.0), Turn(None, is_escalated=False), None, 0.0)
    assert scene.log.told == [("assistant", [Heard(NAME, Known(NAME, Talk(turns=1)))])]
    assert scene.log.is_closed


async def test_without_a_store_nothing_is_shared(scene: Scene) -> None:
    async with TurnSharing(scene.turns.context, None).running():
        assert not scene.talks.is_shared
