"""One small run of ours beside a relay and one that cannot be had, over a load of our own."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench import peers
from bench.measure import Plan, Report, measure
from bench.peers import PEERS, RELAY, Peer, Place
from bench.processes import GatewayProcess, Pipes, child
from bench.side_by_side import LeftOut, SidePlan, SideReport
from bench.tables import tables
from bench.token_costs import TokenPlan
from tests.fakes.serving import wait_until

GONE = Peer("gone", "no-such-lock", lambda _: [], ready_path="/")
BROKEN = Peer("broken", None, lambda _: ["false"], ready_path="/")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.which", lambda _: None)  # neither wrk nor apt-get
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        sides = SidePlan(concurrencies=(1, 32), rounds=1, round_seconds=0.05)
        told: list[str] = []
        plan = Plan(sides=sides, peers=(RELAY, GONE, BROKEN))
        rests: list[GatewayProcess] = []
        pause = GatewayProcess.pause

        def noted(process: GatewayProcess) -> None:
            rests.append(process)
            pause(process)

        patch.setattr(GatewayProcess, "pause", noted)
        made = measure(plan, told.append)
        assert len(rests) == 1  # the relay, once, and not ours
        yield made
        assert "relay, 32 at once, 1 of 1" in told


def test_every_side_has_a_line_at_every_concurrency(report: Report) -> None:
    assert report.found.sides is not None
    lines = [(each.name, each.concurrency) for each in report.found.sides.measurements]
    assert lines == [(n, c) for n in ("direct", "relay", "keep", "escalate") for c in (1, 32)]
    assert report.found.load_generator == "bench.load, our own"
    for each in report.found.sides.measurements:
        assert each.requests >= each.concurrency
        assert each.latency_ms_p99 >= each.latency_ms_median > 0
        assert (each.cpu_us is None) == (each.name == "direct")
    assert report.found.sides.idle_mib.keys() == {"relay", "keep"}


def test_what_cannot_be_had_or_started_is_absent_with_its_reason(report: Report) -> None:
    assert report.found.sides is not None
    why = {each.name: each.why for each in report.found.sides.left_out if each.concurrency is None}
    assert why.keys() == {"gone", "broken"}
    assert "peer-no-such-lock.txt" in why["gone"]
    assert "did not start" in why["broken"]


def test_what_is_left_out_is_said_once_for_all_its_concurrencies() -> None:
    slow = [LeftOut("slow", number, "it answers 7 requests a second") for number in (128, 1024)]
    gone = LeftOut("gone", None, "no network\nand more of it")
    told = list(SideReport({}, {}, [], [*slow, gone], None).not_measured())
    assert told == [
        "Not measured: slow at 128, 1,024, for it answers 7 requests a second.",
        "Not measured: gone, for no network.",
    ]


def test_half_of_saturation_is_half_of_what_was_taken_at_32(report: Report) -> None:
    assert report.found.sides is not None
    half, kept = report.found.sides.half, report.found.sides.at("keep", 32)
    assert half is not None
    assert kept is not None
    assert half.rate == pytest.approx(kept.requests_per_second / 2, abs=0.1)
    assert half.latency_ms_p99 >= half.latency_ms_median > 0


def test_who_rests_computes_nothing_until_told_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "while True: pass"]
    with child(command, None, Pipes(), os.environ) as process:
        running, seen = GatewayProcess(process, 0, tmp_path / "log"), psutil.Process(process.pid)
        running.pause()
        wait_until(lambda: seen.status() == psutil.STATUS_STOPPED)
        before = running.cpu_seconds()
        time.sleep(0.05)
        assert running.cpu_seconds() == before
        running.go_on()
        wait_until(lambda: running.cpu_seconds() > before)


@pytest.mark.full
def test_tokens_of_every_path_have_a_cost() -> None:
    plan = Plan(tokens=TokenPlan(rounds=1, concurrency=2, pause_ms=1))
    made = measure(plan, lambda _: None)
    assert made.found.tokens is not None
    assert [each.path for each in made.found.tokens.costs] == ["relay", "held back", "released"]
    assert all(each.busy > 0 for each in made.found.tokens.costs)
    assert "What one more token of a stream costs" in [
        each.title for each in tables(made) if not isinstance(each, str)
    ]


def test_tables_show_sides_and_what_is_asked(report: Report) -> None:
    titles = [each if isinstance(each, str) else each.title for each in tables(report)]
    assert titles[0] == "What a whole reply costs each gateway"
    assert "Not measured: gone, for it could not be installed:" in str(titles)
    assert titles[-1] == "What is asked of the gateway"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_is_told_its_port_and_where_the_upstream_is(peer: Peer, tmp_path: Path) -> None:
    command = peer.command(Place(tmp_path / "env", tmp_path, 4711, (4712, 4713)))
    told = " ".join([*command, *(file.read_text() for file in tmp_path.glob("*.yaml"))])
    assert "--port 4712" in told
    assert "http://127.0.0.1:4711" in told
    assert peer.package is None or command[0].startswith(str(tmp_path / "env" / "bin"))
    assert peer.package is None or peer.version
    assert peer.target(4712).key.startswith("sk-")


def test_litellm_has_a_key_and_sends_nothing_to_its_makers(tmp_path: Path) -> None:
    peers.LITELLM.command(Place(tmp_path, tmp_path, 1, (2, 3)))
    assert f"master_key: {peers.KEY}" in (tmp_path / "litellm.yaml").read_text()
    assert peers.LITELLM.env["LITELLM_TELEMETRY_DISABLED"] == "true"
