"""The command as operators run it, on a real server."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.exceptions import MovedError

from gateway.stores.redis_keys import LEDGER_DAYS, ledger_key
from routing.baseline import Estimate
from routing.bill import Entry
from routing.ledger import Sums
from routing.money import Usage
from routing.vocabulary import Basis, Kind, Named, Role
from tests.fakes.serving import cascade_document
from tests.fakes.valkey import StoreServer, cluster, store_server
from tests.understudy.commands import Command
from understudy.bill import command as bill

TODAY = date(2026, 10, 20)  # whatever midnight or month's end there is while the tests run


@pytest.fixture(autouse=True)
def _at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "today", lambda: TODAY)


class Bill(Command):
    name = "bill"

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.said("--format", "csv", *arguments))))


def spent(tenant: str, pico: int, role: Role = Role.STUDENT, kind: Kind = Kind.SERVED) -> Sums:
    sums = Sums()
    sums.count(tenant, "kept")
    sums.charge(tenant, Entry(role, kind, Usage(20, 3), pico))
    sums.compare(tenant, Estimate(2 * pico, Basis.PRICES))
    return sums


def put(server: StoreServer, cascade: str, day: date, sums: Sums) -> None:
    with server.client() as client:
        client.hset(ledger_key(cascade, day.isoformat()), mapping=sums.encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("store")) as server:
        put(server, "assistant", TODAY, spent("search", 5 * 10**12))
        put(server, "assistant", TODAY, spent("-", 7, Role.TEACHER))
        put(server, "assistant", TODAY - timedelta(1), spent("search", 1))
        put(server, "other", TODAY, spent("search", 100, kind=Kind.WASTED))
        yield server


@pytest.fixture
def command(server: StoreServer, capsys: pytest.CaptureFixture[str]) -> Bill:
    return Bill(capsys, server.url)


def since(days: int) -> tuple[str, str]:
    return "--from", (TODAY - timedelta(days)).isoformat()


def test_tenants_are_billed_for_all_cascades(command: Bill) -> None:
    rows = command.rows("--by", "tenant", *since(1))
    assert [(row["tenant"], row["requests"], row["cost_usd"]) for row in rows] == [
        ("-", "1", "0.000000000007"),
        ("search", "3", "5.000000000101"),
    ]
    assert rows[1]["net_saving_usd"] == "5.000000000101"


def test_days_are_those_asked_for_both_ends_included(command: Bill) -> None:
    yesterday = (TODAY - timedelta(1)).isoformat()
    rows = command.rows("--by", "day,cascade", "--from", yesterday, "--to", yesterday)
    assert [(row["day"], row["cascade"], row["cost_usd"]) for row in rows] == [
        (yesterday, "assistant", "0.000000000001")
    ]
    rows = command.rows("--by", "day", "--by", "role", *since(1))
    assert [(row["day"], row["role"]) for row in rows] == [
        (yesterday, "student"),
        (TODAY.isoformat(), "student"),
        (TODAY.isoformat(), "teacher"),
    ]
    assert "requests" not in rows[0]


def test_without_days_it_is_this_month(command: Bill) -> None:
    (told,) = [json.loads(command.said("--format", "json", "--cascade", "other"))]
    assert (told["from"], told["to"]) == (TODAY.replace(day=1).isoformat(), TODAY.isoformat())
    assert [(row["cascade"], row["wasted_usd"]) for row in told["rows"]] == [
        ("other", "0.0000000001")
    ]
    assert told["total"]["cost_usd"] == "0.0000000001"


def test_a_configuration_says_which_cascades(command: Bill, tmp_path: Path) -> None:
    config = tmp_path / "cascades.yaml"
    document = {"cascades": {"other": cascade_document("http://s", "http://t")}}
    config.write_text(yaml.safe_dump(document))
    rows = command.rows("--config", str(config), *since(1))
    assert [row["cascade"] for row in rows] == ["other"]
    both = command.rows("--cascade", "other,assistant", "--config", str(config), *since(1))
    assert [row["cascade"] for row in both] == ["assistant", "other"]


def test_a_configuration_also_says_which_named_models(
    server: StoreServer, command: Bill, tmp_path: Path
) -> None:
    sums = Sums()
    sums.count("search", "passed")
    sums.charge("search", Entry(Named.MODEL, Kind.SERVED, Usage(7, 0), 70))
    put(server, "emb", TODAY - timedelta(60), sums)
    config = tmp_path / "cascades.yaml"
    model = {"base_url": "http://m/v1", "model": "m", "serves": ["embeddings"]}
    document = {
        "cascades": {"nothing": cascade_document("http://s", "http://t")},
        "models": {"emb": model},
    }
    config.write_text(yaml.safe_dump(document))
    (row,) = command.rows("--config", str(config), "--by", "cascade,role", *since(61))
    assert (row["cascade"], row["role"], row["cost_usd"]) == ("emb", "model", "0.00000000007")


def test_a_table_has_a_total_and_no_empty_columns(
    command: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = command.said("--by", "tenant", *since(1))
    assert "5.000000000108" in told
    assert "total" in told
    assert "audit" not in told
    assert "nothing" in command.said("--cascade", "empty")


def test_where_a_table_is_too_wide_each_row_is_a_list(
    command: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = command.said("--by", "tenant,cascade", *since(1))
    assert "…" not in told
    lists = told.split("\n", 1)[1].split("tenant ")
    assert len(lists) > 2
    assert all("cascade" in each and "cost" in each for each in lists[1:])
    assert "total" in lists[-1]
    assert "5.000000000108" in lists[-1]


def test_a_cost_that_nobody_knows_is_shown(server: StoreServer, command: Bill) -> None:
    key = ledger_key("unpriced", TODAY.isoformat())
    fields = {"student:served:calls:x": 2, "student:served:cost_unknown:x": 2}
    with server.client() as client:
        client.hset(key, mapping=fields)
        told = command.said("--cascade", "unpriced")
        client.delete(key)
    assert "unknown" in told.split("cost unknown calls")[1]


def test_what_is_older_than_the_ledger_is_told(command: Bill) -> None:
    command.said("--format", "csv", "--from", "2001-01-01")
    oldest = (TODAY - timedelta(LEDGER_DAYS)).isoformat()
    assert command.error == (
        f"The ledger keeps {LEDGER_DAYS} days: it has nothing from before {oldest}."
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "weather"], "--by: 'weather' is none of tenant, cascade, day"),
        (["--from", "yesterday"], "--from: 'yesterday' is no day: write 2026-11-01"),
        (["--to", "2026-13-01"], "--to: '2026-13-01' is no day"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], "is after --to 2026-11-01"),
        (["--cascade", "a b"], "--cascade: 'a b' cannot be a cascade's name"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_what_cannot_be_billed_is_said(command: Bill, arguments: list[str], words: str) -> None:
    assert command.status(*arguments) == 2
    assert words in command.error
    assert command.output == ""


def test_no_redis_and_one_that_is_away_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert Bill(capsys, None).status() == 2
    away = Bill(capsys, "redis://127.0.0.1:1")
    assert away.status() == 2
    assert "UNDERSTUDY_REDIS_URL" in away.error


def test_books_that_make_no_sense_are_named(server: StoreServer, command: Bill) -> None:
    key = ledger_key("scribbled", TODAY.isoformat())
    with server.client() as client:
        client.hset(key, "requests:kept:x", "many")
        assert command.status("--cascade", "scribbled") == 2
        client.delete(key)
    assert key in command.error


def test_a_name_is_no_formula_in_a_spreadsheet(server: StoreServer, command: Bill) -> None:
    """No gateway writes such a tenant; whoever has the right to write to Redis may."""
    with server.client() as client:
        client.hset(ledger_key("evil", TODAY.isoformat()), "requests:kept:=1+1", 1)
    rows = command.rows("--by", "tenant", "--cascade", "evil")
    assert rows[0]["tenant"] == "'=1+1"


def test_a_reader_needs_no_more_than_the_rights_that_are_documented(
    server: StoreServer, capsys: pytest.CaptureFixture[str]
) -> None:
    operating = (Path(__file__).resolve().parents[3] / "docs/operating.md").read_text()
    rights = "~understudy:* +scan +hgetall +info"
    assert rights in operating
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">p", *rights.split())
    reader = Bill(capsys, server.url.replace("redis://", "redis://reader:p@"))
    assert reader.rows("--by", "tenant", *since(1))


def test_a_cluster_is_billed_whichever_node_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"c{number}" for number in range(8)]
    with cluster(tmp_path) as nodes:
        for node in nodes:
            with node.client() as client:
                for name in names:
                    put_where_it_belongs(client, name)
        rows = Bill(capsys, nodes[1].url).rows("--by", "cascade")
    assert [row["cascade"] for row in rows] == names
    assert {row["cost_usd"] for row in rows} == {"0.000000000001"}


def put_where_it_belongs(client: Any, cascade: str) -> None:
    with contextlib.suppress(MovedError):
        client.hset(ledger_key(cascade, TODAY.isoformat()), mapping=spent("t", 1).encode())
