"""Readers find the log wherever the gateway writes it: in a cluster, and behind sentinels."""

import json
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.fakes.pairs import encoded, pair
from tests.fakes.valkey import SLOTS, StoreServer, cluster, sentinels, store_server
from tests.understudy.commands import Command
from understudy.connecting import connect
from understudy.telling import CommandError

KEY = "understudy:{assistant}:pairs"


def put(server: StoreServer, count: int) -> None:
    with server.client() as client:
        for number in range(count):
            client.xadd(KEY, {"pair": encoded(pair(number))})


def try_all(command: Command, folder: Path) -> None:
    """Every command that reads or writes the log of 30 pairs."""
    assert json.loads(command.said("stats", "--json"))["pairs"] == 30
    assert "req-7" in command.said("show", "req-7")
    command.said("delete", "--request-id", "req-7", "--yes")
    assert len(command.said("tail", "--no-follow", "--lines", "5", "--json").splitlines()) == 5
    drained, card = command.said("export", str(folder), "--json", "--trim").splitlines()
    assert (json.loads(drained)["exported"], json.loads(drained)["trimmed"]) == (29, 29)
    assert json.loads(card)["source"]["records"] == 29


def test_any_node_of_a_cluster_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster(tmp_path / "cluster") as nodes:
        home = key_slot(KEY.encode()) * len(nodes) // SLOTS
        put(nodes[home], 30)
        other = nodes[(home + 1) % len(nodes)]
        try_all(Command(capsys, other.url), tmp_path / "out")


def test_sentinels_name_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sentinels(tmp_path / "watched") as watched:
        put(watched.servers[0], 30)
        try_all(Command(capsys, watched.url), tmp_path / "out")


@pytest.mark.parametrize("url", ["http://here", "redis+sentinel://here", "redis://here:x"])
def test_an_url_that_is_none_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(CommandError, match="UNDERSTUDY_REDIS_URL") as refused:
        connect(url)
    assert url not in str(refused.value)


def test_who_may_not_ask_for_the_cluster_is_taken_at_the_url_s_word(tmp_path: Path) -> None:
    with store_server(tmp_path) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+ping")
        url = server.url.replace("redis://", "redis://reader:word@")
        with connect(url) as reader:
            assert isinstance(reader, redis.Redis)
            assert reader.ping()
