import io
import json
from collections.abc import Sequence

from gateway.facts import RequestSettled
from gateway.ledger import Ledger
from gateway.telemetry.log import new_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from gateway.telemetry.telling import TURNS, Telling
from tests.fakes.turns import turns
from tests.gateway.telemetry.test_metrics import fact


class Listener:
    """Remembers the ids of the requests that it is told of together."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.telling = Telling(self._hear)

    def settle(self, *ids: str) -> None:
        for each in ids:
            self.telling.add(fact(request_id=each))

    def _hear(self, facts: Sequence[RequestSettled]) -> None:
        self.heard.append([each.request_id for each in facts])


def test_without_a_loop_each_is_told_at_once() -> None:
    listener = Listener()
    listener.settle("a", "b")
    assert listener.heard == [["a"], ["b"]]


async def test_those_of_some_turns_of_the_loop_are_told_together_in_their_order() -> None:
    listener = Listener()
    async with listener.telling.running():
        listener.settle("a", "b")
        await turns(TURNS - 1)
        listener.settle("c")
        assert listener.heard == []
        await turns(1)
        assert listener.heard == [["a", "b", "c"]]
        listener.settle("d")
        await turns(TURNS)
        assert listener.heard == [["a", "b", "c"], ["d"]]


async def test_whoever_reads_what_is_counted_has_all_of_it() -> None:
    listener = Listener()
    async with listener.telling.running():
        listener.settle("a")
        listener.telling.tell()
        assert listener.heard == [["a"]]
        listener.settle("b")
        await turns(TURNS)
        assert listener.heard == [["a"], ["b"]]


async def test_what_waits_at_the_end_is_told_and_what_comes_later_at_once() -> None:
    listener = Listener()
    async with listener.telling.running():
        listener.settle("a")
    assert listener.heard == [["a"]]
    listener.settle("b")
    assert listener.heard == [["a"], ["b"]]
    await turns(TURNS)  # the call that was due tells of none twice
    assert listener.heard == [["a"], ["b"]]


class Failing(Ledger):
    """Cannot add up what one of the requests came to."""

    def settled(self, fact: RequestSettled) -> None:
        if fact.request_id == "b":
            raise RuntimeError("detail")
        super().settled(fact)


async def test_a_bug_in_telling_of_one_hides_none_of_the_others() -> None:
    stream = io.BytesIO()
    metrics = Metrics(version="0", calibrated={"a": True})
    observer = Observer(metrics, new_log("info", stream), Failing("origin", lambda: 0.0))
    async with observer.telling.running():
        for each in "abc":
            observer.settled(fact(request_id=each))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("bug", "b"),
        ("request", "a"),
        ("request", "c"),
    ]
    assert "RuntimeError: detail" in lines[0]["exception"]
