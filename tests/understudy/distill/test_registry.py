import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from distill.generations import Reason, begun, ended, promoted, renewed
from gateway.stores.redis_keys import (
    adapters_key,
    generations_key,
    registry_key,
    replicas_key,
    watch_key,
)
from routing.rollout import Action
from routing.rollout_file import generations_document
from routing.tally import Heartbeat, Tallies, heartbeat_document
from tests.distill.made_generations import WHY, generation, rollout
from tests.fakes.valkey import StoreServer, cluster, sentinels
from understudy.distill.registry import Adapter, LostRace, Place, Registry, opened
from understudy.telling import CommandError

STATE = begun(None, rollout(generation(1)), WHY)


def test_a_cascade_without_a_state_has_none(registry: Registry) -> None:
    assert registry.state() is None
    assert registry.steps(5) == []
    assert registry.heartbeats() == {}
    assert registry.reported() is None


def test_a_step_is_what_gateways_read_and_stands_in_the_registry(registry: Registry) -> None:
    registry.write_step(None, STATE)
    after = promoted(STATE, WHY)
    registry.write_step(STATE, after)
    assert registry.state() == after
    found = registry.client.get(generations_key("assistant"))
    assert isinstance(found, bytes)
    assert json.loads(found) == generations_document(after)
    assert [step.action for step in registry.steps(5)] == [Action.PROMOTED, Action.SHADOWED]
    assert [step.action for step in registry.steps(1)] == [Action.PROMOTED]
    page: Any = registry.client.xrange(registry_key("assistant"))
    assert json.loads(page[0][1][b"state"]) == generations_document(STATE)


def test_whoever_comes_second_overwrites_nothing(registry: Registry) -> None:
    registry.write_step(None, STATE)
    with pytest.raises(LostRace):
        registry.write_step(None, begun(None, rollout(generation(2), id="r2"), WHY))
    after = promoted(STATE, WHY)
    registry.write_step(STATE, after)
    with pytest.raises(LostRace):
        registry.write_step(STATE, ended(STATE, WHY))
    with pytest.raises(LostRace):
        registry.renew(renewed(STATE, 9e9))
    assert registry.state() == after
    assert len(registry.steps(9)) == 2


def test_what_is_no_state_is_not_overwritten(registry: Registry) -> None:
    later = json.dumps(generations_document(STATE) | {"schema_version": 2, "revision": 7})
    for text in ("no JSON", "[1]", '{"revision": null}', '"text"', "[" * 100_000, later):
        registry.client.set(generations_key("assistant"), text)
        with pytest.raises(LostRace):
            registry.write_step(None, STATE)
        with pytest.raises(CommandError, match="cannot be read"):
            registry.state()


@pytest.mark.parametrize(
    ("reason", "until"),
    [
        (replace(WHY, why=""), 1.8e9),
        (replace(WHY, who="ada\udcff"), 1.8e9),
        (WHY, float("inf")),
    ],
)
def test_what_no_gateway_could_read_is_not_written(
    registry: Registry, reason: Reason, until: float
) -> None:
    with pytest.raises(CommandError, match="no gateway could read that step"):
        registry.write_step(None, begun(None, rollout(generation(1), until=until), reason))
    assert registry.state() is None
    assert registry.steps(9) == []


def test_a_renewal_is_no_step(registry: Registry) -> None:
    registry.write_step(None, STATE)
    registry.renew(renewed(STATE, 1_900_000_000.0))
    state = registry.state()
    assert state is not None
    assert state.rollout is not None
    assert state.rollout.until == 1_900_000_000.0
    assert len(registry.steps(9)) == 1


def test_heartbeats_that_lack_something_are_left_out(registry: Registry) -> None:
    heartbeat = Heartbeat(5.0, 3, {"small-g1": 2}, None, "r1", Tallies.empty())
    told = json.dumps(heartbeat_document(heartbeat) | {"later": 1})
    key = replicas_key("assistant")
    deep = "[" * 100_000
    registry.client.hset(key, mapping={"a": told, "b": "{}", "c": "no JSON", "d": deep})
    registry.client.xadd(registry_key("assistant"), {"state": deep})
    registry.client.set(watch_key("assistant"), deep)
    assert registry.steps(9) == []
    assert registry.reported() is None
    assert registry.heartbeats() == {"a": heartbeat}
    registry.forget(["a"])
    registry.forget([])
    assert registry.heartbeats() == {}


def test_adapters_are_remembered_until_they_are_dropped(registry: Registry) -> None:
    adapter = Adapter(("http://a/v1", "http://b/v1"), "/adapters/g1")
    assert registry.adapter("small-g1") is None
    registry.keep_adapter("small-g1", adapter)
    assert registry.adapter("small-g1") == adapter
    registry.drop_adapter("small-g1")
    assert registry.adapter("small-g1") is None


def test_what_another_release_says_of_adapters_and_candidates_is_done_without(
    registry: Registry,
) -> None:
    registry.client.hset(adapters_key("assistant"), "small-g1", '{"later": 1}')
    registry.client.set(watch_key("assistant"), "[1]")
    assert registry.adapter("small-g1") is None
    assert registry.reported() is None


def test_what_is_seen_of_a_candidate_is_kept_for_others(registry: Registry) -> None:
    registry.report({"rollout": "r1"})
    assert registry.reported() == {"rollout": "r1"}
    registry.report({"rollout": "r2"})
    assert registry.reported() == {"rollout": "r2"}


def test_the_only_cascade_is_meant(server: StoreServer, client: redis.Redis) -> None:
    client.hset(replicas_key("assistant"), "a", "{}")
    with opened(Place(server.url)) as registry:
        assert registry.cascade == "assistant"
    client.set(generations_key("other"), "{}")
    with (
        pytest.raises(CommandError, match="several cascades, assistant, other"),
        opened(Place(server.url)),
    ):
        pass
    with opened(Place(server.url, "other")) as registry:
        assert registry.cascade == "other"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (Place(None), "no Redis is named"),
        (Place("redis://127.0.0.1:1", "No Name"), "cannot be a cascade's name"),
        (Place("http://x"), "UNDERSTUDY_REDIS_URL"),
    ],
)
def test_a_place_that_is_none_is_told(place: Place, why: str, server: StoreServer) -> None:
    if place.redis_url == "redis://127.0.0.1:1":
        place = Place(server.url, place.cascade)
    with pytest.raises(CommandError, match=why), opened(place):
        pass


def test_a_redis_that_no_gateway_has_written_to_is_told(
    server: StoreServer, client: redis.Redis
) -> None:
    with (
        pytest.raises(CommandError, match="no gateway has said anything"),
        opened(Place(server.url)),
    ):
        pass


@pytest.mark.full
def test_a_cluster_keeps_a_cascade_together(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, opened(Place(nodes[0].url, "assistant")) as registry:
        registry.write_step(None, STATE)
        registry.renew(renewed(STATE, 5e9))
        with pytest.raises(LostRace):
            registry.write_step(None, STATE)
        assert [step.action for step in registry.steps(3)] == [Action.SHADOWED]
        registry.report({"rollout": "r1"})
        with opened(Place(nodes[1].url)) as other:
            assert other.cascade == "assistant"
            assert other.reported() == {"rollout": "r1"}


@pytest.mark.full
def test_sentinels_name_the_server_that_writes(tmp_path: Path) -> None:
    with sentinels(tmp_path) as watched, opened(Place(watched.url, "assistant")) as registry:
        registry.write_step(None, STATE)
        assert registry.state() == STATE
