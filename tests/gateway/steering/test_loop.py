"""What the background task says and saves where one of its cascades is in trouble."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import LogCapture

from gateway.steering.loop import SteeringLoop
from gateway.stores.failures import failure_of
from gateway.stores.objective_store import (
    Asking,
    ObjectiveStore,
    Ordered,
    SavedObjectives,
    Seen,
)
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import Address, parse_store_url
from tests.gateway.steering.replicas import Replica


class Troubled(ObjectiveStore):
    """Says what ``errors`` has for a cascade, and of all others that nothing is known."""

    def __init__(self) -> None:
        super().__init__(parse_store_url("redis://127.0.0.1:1/0"))
        self.errors: dict[str, Exception] = {}

    async def tell(self, cascade: str, report: bytes) -> None: ...

    async def order(self, cascade: str, expected: int, change: Ordered) -> tuple[bool, int]:
        return True, change.version

    async def restore(self, cascade: str, revision: int, state: bytes) -> bool:
        return True

    async def look(self, cascade: str, asking: Asking) -> Seen:
        if cascade in self.errors:
            raise self.errors[cascade]
        return Seen(1.0, "somebody-else", 0, None, 0, None)


class Heard:
    """Remembers which cascades cannot be asked about, and which files cannot be written."""

    def __init__(self, captured: LogCapture) -> None:
        self.log = structlog.wrap_logger(structlog.PrintLogger(), processors=[captured])
        self.away: list[Sequence[str]] = []
        self.unsaved: list[str] = []

    def steering_changed(self, cascades: Sequence[str], _: Mapping[str, Any]) -> None:
        self.away.append(cascades)

    def state_not_saved(self, path: str, _: OSError) -> None:
        self.unsaved.append(path)


class Rig:
    """A loop of two cascades, turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.captured, self.store = LogCapture(), Troubled()
        self.heard = Heard(self.captured)
        links = {}
        for name in ("a", "b"):
            links[name] = Replica(name).link
            links[name].cascade = name
        saved = SavedObjectives(folder)
        self.loop = SteeringLoop(links, self.store, saved, self.heard, lambda: 1.0)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_what_one_cascade_stumbles_over_is_said_once_and_holds_up_no_other(rig: Rig) -> None:
    rig.store.errors["a"] = ValueError("revision")
    for _ in range(3):
        await rig.loop.round()
    (said,) = rig.captured.entries
    assert (said["event"], said["cascade"]) == ("bug", "a")
    assert rig.loop.links["b"].owner == "somebody-else"
    del rig.store.errors["a"]
    await rig.loop.round()
    rig.store.errors["a"] = ValueError("revision")
    await rig.loop.round()
    assert len(rig.captured.entries) == 2


async def test_each_cascade_that_cannot_be_asked_about_is_named_when_that_begins(rig: Rig) -> None:
    failed = StoreFailed(failure_of(ConnectionError(), Address("127.0.0.1", 1)))
    for errors in (["a"], ["a"], ["a", "b"], ["b"], []):
        rig.store.errors = dict.fromkeys(errors, failed)
        await rig.loop.round()
    assert rig.heard.away == [["a"], ["a", "b"], ["b"], []]


async def test_an_order_that_could_not_be_saved_is_said_once_and_tried_again(
    rig: Rig, tmp_path: Path
) -> None:
    link = rig.loop.links["a"]
    order, _ = link.orders.next(None, "ann", 1.0)
    link.obey(msgspec.json.encode(order))
    link.round_alone(1.0)
    in_the_way = SavedObjectives(tmp_path).order_path_of("a")
    in_the_way.mkdir()
    for _ in range(3):
        await rig.loop.round()
    assert rig.heard.unsaved == [str(in_the_way)]
    in_the_way.rmdir()
    await rig.loop.round()
    assert in_the_way.read_bytes() == msgspec.json.encode(order)
