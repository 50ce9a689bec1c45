"""What replicas agree on in a real store, whatever becomes of that or of one of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec
import pytest

from gateway.errors import ObjectiveChanged
from gateway.steering import link as link_module
from gateway.steering.config import RateConfig
from gateway.steering.ordering import Ordering
from gateway.steering.state import report_from, state_from
from gateway.stores import objective_store
from gateway.stores.objective_store import Change, ObjectiveStore, SavedObjectives
from gateway.stores.redis_keys import controller_key, objective_key, objectives_key, reports_key
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import parse_store_url
from routing.steering import Sample
from tests.fakes.valkey import StoreServer, store_server
from tests.gateway.steering.replicas import Replica

STATE, LEASE = objective_key("assistant"), controller_key("assistant")
OTHER = RateConfig(kind="escalation_rate", at_most=0.5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def server(shared: StoreServer) -> StoreServer:
    if shared.process is None:
        shared.start()
    with shared.client() as client:
        client.flushall()
    return shared


@pytest.fixture
async def store(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectiveStore]:
    """It waits longer than a busy machine takes, and so does who looks for the controller."""
    monkeypatch.setattr(objective_store, "SECONDS", 20.0)
    monkeypatch.setattr(objective_store, "LEASE_MILLISECONDS", 60_000)
    there = ObjectiveStore(parse_store_url(server.url))
    yield there
    await there.close()


class Robbed(ObjectiveStore):
    """A controller loses its lease each time between what it reads and what it writes."""

    server: StoreServer
    refused = 0

    async def reports(self, cascade: str, after: str, most: int) -> Sequence[tuple[str, bytes]]:
        found = await super().reports(cascade, after, most)
        if self.turn():
            free_lease(self.server)
            await asyncio.sleep(0.01)  # others look meanwhile
        return found

    turns = 0

    def turn(self) -> bool:
        self.turns += 1
        return self.turns % 2 == 1

    async def write(self, cascade: str, change: Change) -> bool:
        is_written = await super().write(cascade, change)
        self.refused += not is_written
        return is_written


def three() -> list[Replica]:
    return [Replica(name) for name in ("a", "b", "c")]


async def seconds(store: ObjectiveStore, replicas: Sequence[Replica], count: int = 1) -> None:
    for _ in range(count):
        for replica in replicas:
            await replica.second(store)


async def settled(store: ObjectiveStore, replicas: Sequence[Replica]) -> None:
    """Two seconds without requests: whatever was reported is taken up and followed."""
    for _ in range(2):
        for replica in replicas:
            await replica.second(store, requests=0)


def free_lease(server: StoreServer) -> None:
    """As if it had run out."""
    with server.client() as client:
        client.delete(LEASE)


async def test_one_steers_all_follow_and_each_request_counts_once(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas, 5)
    await settled(store, replicas)
    assert [replica.link.is_controller for replica in replicas] == [True, False, False]
    assert {replica.judged for replica in replicas} == {3 * 5 * 40}
    assert replicas[0].standing == replicas[1].standing == replicas[2].standing
    assert replicas[2].standing.threshold == pytest.approx(0.06)
    with server.client() as client:
        assert client.xlen(reports_key("assistant")) <= 6


async def test_a_controller_that_dies_is_followed_by_another_that_goes_on(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas, 3)
    with server.client() as client:
        assert 0 < client.pttl(LEASE) <= objective_store.LEASE_MILLISECONDS
    free_lease(server)
    rest = replicas[1:]
    await seconds(store, rest, 2)
    await settled(store, rest)
    assert rest[0].link.is_controller
    assert rest[1].judged == 3 * 3 * 40 + 2 * 2 * 40
    assert rest[1].heard.owners == ["a", "b"]


async def test_a_lease_that_is_given_back_is_free_at_once(store: ObjectiveStore) -> None:
    replicas = three()
    await seconds(store, replicas)
    await store.leave("assistant", "b")
    await replicas[1].second(store)
    assert replicas[1].link.owner == "a"
    await store.leave("assistant", "a")
    await replicas[1].second(store)
    assert replicas[1].link.is_controller


async def test_a_controller_that_lost_its_lease_while_it_thought_writes_nothing(
    server: StoreServer, store: ObjectiveStore
) -> None:
    one, other = Replica("a"), Replica("b")
    await seconds(store, [one, other], 2)
    late = one.link.state
    assert late is not None
    free_lease(server)
    await seconds(store, [other], 2)
    written = msgspec.json.encode(late)
    for change in (
        Change("a", late.revision, late.revision + 1, written, late.cursor),
        Change("b", late.revision, late.revision + 1, written, late.cursor),
    ):
        assert not await store.write("assistant", change)
    await seconds(store, [one, other], 2)
    await settled(store, [one, other])
    assert one.judged == other.judged == (4 + 6) * 40


async def test_two_that_both_believe_to_steer_neither_lose_nor_double_a_report(
    server: StoreServer, store: ObjectiveStore
) -> None:
    robbed = Robbed(parse_store_url(server.url))
    robbed.server = server
    replicas = three()
    for _ in range(12):
        replicas = replicas[1:] + replicas[:1]
        await asyncio.gather(*(replica.second(robbed) for replica in replicas))
    await robbed.close()
    await settled(store, replicas)
    assert {replica.judged for replica in replicas} == {12 * 3 * 40}
    owners = {owner for one in replicas for owner in one.heard.owners}
    assert len(owners - {None}) > 1  # which of them is chance
    assert robbed.refused > 3


async def test_a_report_that_comes_twice_counts_once(store: ObjectiveStore) -> None:
    """As after a connection that broke when the report had arrived."""
    one = Replica("a")
    await seconds(store, [one])
    one.steered.answered(None, None)
    again = msgspec.json.encode(one.steered.report(2.0, 1.0))
    for _ in range(3):
        await store.tell("assistant", again)
    await seconds(store, [one])
    await settled(store, [one])
    assert one.judged == 80


async def test_while_the_store_is_away_what_holds_stays_and_reports_wait(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas, 2)
    await settled(store, replicas)
    before = replicas[1].standing
    server.stop()
    for _ in range(3):
        for replica in replicas:
            with pytest.raises(StoreFailed):
                await replica.second(store)
    assert [replica.standing for replica in replicas] == [before] * 3
    assert replicas[1].link.waiting == 3
    server.start()
    free_lease(server)
    await settled(store, replicas)
    assert {replica.judged for replica in replicas} == {5 * 3 * 40}
    assert replicas[1].link.waiting == 0


async def test_reports_are_lost_and_counted_beyond_what_is_kept(
    server: StoreServer, store: ObjectiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MOST_WAITING", 2)
    one = Replica("a")
    server.stop()
    for _ in range(5):
        with pytest.raises(StoreFailed):
            await one.second(store)
    assert (one.link.waiting, one.heard.lost) == (2, 3)


async def test_an_emptied_store_is_told_again_what_was_known(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas, 3)
    await settled(store, replicas)
    revision = replicas[0].standing.revision
    with server.client() as client:
        client.flushall()
    await seconds(store, replicas[1:] + replicas[:1])
    await settled(store, replicas)
    assert {replica.judged for replica in replicas} == {4 * 3 * 40}
    assert replicas[0].standing.revision > revision


async def test_a_newcomer_that_steers_an_emptied_store_is_told_by_the_others(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas[:2], 3)
    await settled(store, replicas[:2])
    with server.client() as client:
        client.flushall()
    newcomer = replicas[2]
    await seconds(store, [newcomer])
    assert newcomer.link.is_controller
    await settled(store, replicas)
    assert newcomer.link.is_controller
    assert {replica.judged for replica in replicas} == {3 * 2 * 40 + 40}


async def test_of_a_store_that_went_back_the_highest_revision_holds(
    server: StoreServer, store: ObjectiveStore
) -> None:
    replicas = three()
    await seconds(store, replicas, 2)
    with server.client() as client:
        kept = client.hgetall(STATE)
        await seconds(store, replicas, 4)
        await settled(store, replicas)
        client.hset(STATE, mapping=kept)
    await settled(store, replicas)
    assert {replica.judged for replica in replicas} == {6 * 3 * 40}
    with server.client() as client:
        assert int(client.hget(STATE, "revision") or 0) > int(kept[b"revision"])


async def test_a_state_that_nobody_can_read_changes_nothing(
    server: StoreServer, store: ObjectiveStore
) -> None:
    one, other = Replica("a"), Replica("b")
    await seconds(store, [one, other], 2)
    before = other.standing
    with server.client() as client:
        client.hset(STATE, mapping={"revision": "99", "state": "{}"})
        client.set(LEASE, "somebody")
    await other.second(store)
    assert other.standing == before
    assert "missing required field" in other.heard.refused[0]


async def test_who_began_later_has_the_newer_file_and_steers_by_it(
    server: StoreServer, store: ObjectiveStore
) -> None:
    old, new = Replica("old", since=1.0), Replica("new", since=2.0, objective=OTHER)
    await seconds(store, [new, old], 2)
    free_lease(server)
    await seconds(store, [old, new], 2)
    assert (old.link.owner, new.link.owner) == ("new", "new") or old.link.owner is None
    assert new.link.is_controller
    state = new.link.state
    assert state is not None
    assert state.aim == new.link.aim().digest


async def test_the_file_of_a_gateway_that_is_gone_holds_no_longer(
    server: StoreServer, store: ObjectiveStore
) -> None:
    old, new = Replica("old", since=1.0), Replica("new", since=2.0, objective=OTHER)
    await seconds(store, [new, old], 2)
    free_lease(server)
    state = old.link.state
    assert state is not None
    old.clock += link_module.STALE_SECONDS - 3.0
    await seconds(store, [old])
    assert not old.link.is_controller
    old.clock += link_module.STALE_SECONDS + 2.0
    await seconds(store, [old])
    assert old.link.is_controller


async def test_reports_are_of_the_stores_time_whatever_a_replicas_clock_says(
    store: ObjectiveStore, server: StoreServer
) -> None:
    late, early = Replica("late", clock=-180.0), Replica("early", clock=1e10)
    await seconds(store, [late, early], 2)
    await store.leave("assistant", "late")
    for replica in (late, early):
        await replica.second(store)
    with server.client() as client:
        entries = client.xrange(reports_key("assistant"))
        now = float(client.time()[0])
    told = [report_from(content[b"report"]) for _, content in entries]
    assert {report.replica for report in told} == {"late", "early"}
    assert all(abs(report.at - now) < 60.0 for report in told)


async def test_another_student_begins_with_what_knows_nothing(store: ObjectiveStore) -> None:
    one, other = Replica("a"), Replica("b")
    await seconds(store, [one, other], 3)
    assert other.standing.threshold != 0.5
    other.subject = "student-2"
    await other.second(store)
    assert (other.standing.threshold, other.steered.subject) == (0.5, "student-2")


def ordering(replica: Replica, store: ObjectiveStore | None, saved: SavedObjectives) -> Ordering:
    return Ordering({"assistant": replica.link}, store, saved, lambda: 7.0)


async def test_what_is_ordered_holds_for_all_within_a_second(
    server: StoreServer, store: ObjectiveStore, saved: SavedObjectives
) -> None:
    replicas = three()
    await seconds(store, replicas, 2)
    order = await ordering(replicas[1], store, saved).give("assistant", 0, OTHER, "ann")
    assert order.version == 1
    await seconds(store, replicas, 2)
    for replica in replicas:
        assert replica.link.aim().objective == OTHER
        assert replica.heard.orders == [(1, {"kind": "escalation_rate", "at_most": 0.5}, "ann")]
        state = replica.link.state
        assert state is not None
        assert state.aim == replica.link.aim().digest
    assert replicas[2].link.state is not None
    assert replicas[2].link.state.version == 1
    with server.client() as client:
        assert client.xlen(objectives_key("assistant")) == 1


async def test_of_two_that_change_one_version_one_is_told_so(
    store: ObjectiveStore, saved: SavedObjectives
) -> None:
    one, other = Replica("a"), Replica("b")
    await ordering(one, store, saved).give("assistant", 0, OTHER, "ann")
    with pytest.raises(ObjectiveChanged, match="version 1 by now, not 0"):
        await ordering(other, store, saved).give("assistant", 0, None, "bob")
    assert other.orders.version == 0


async def test_what_was_ordered_outlives_an_emptied_store(
    server: StoreServer, store: ObjectiveStore, saved: SavedObjectives
) -> None:
    replicas = three()
    await ordering(replicas[0], store, saved).give("assistant", 0, OTHER, "ann")
    await seconds(store, replicas)
    with server.client() as client:
        client.flushall()
    await seconds(store, replicas, 2)
    newcomer = Replica("d")
    await newcomer.second(store)
    assert newcomer.link.aim().objective == OTHER
    history = await ordering(newcomer, store, saved).history("assistant")
    assert [(entry.version, entry.by, entry.is_restored) for entry in history] == [(1, "ann", True)]


async def test_an_order_that_nobody_can_read_changes_nothing(
    server: StoreServer, store: ObjectiveStore
) -> None:
    one = Replica("a")
    with server.client() as client:
        wrong = '{"version":1,"objective":{"kind":"magic"},"by":null,"at":0}'
        client.hset(STATE, mapping={"version": "1", "order": wrong})
    await one.second(store)
    assert one.orders.version == 0
    assert "an order:" in one.heard.refused[0]


@pytest.fixture
def saved(tmp_path_factory: pytest.TempPathFactory) -> SavedObjectives:
    return SavedObjectives(tmp_path_factory.mktemp("state"))


async def test_alone_a_process_steers_itself_and_goes_on_where_it_was() -> None:
    one = Replica("a")
    one.steered.answered(Sample(0.3), None)
    one.link.round_alone(0.0)
    content = one.link.round_alone(1.0)
    state = state_from(content)
    again = Replica("a2")
    again.link.start(content)
    assert again.standing == one.standing
    assert again.judged == 1
    assert state.replica == "a"
    assert state_from(again.link.round_alone(9.0)).revision == state.revision + 1
