"""Every request is in the ledger exactly once, whatever fails, but for a killed gateway's last
second.

A real gateway process, a real Valkey with its append-only file, the official client.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.ledger import POST_SECONDS
from tests.chaos.faults import a_moment, fill_store, kill_store, take_store_away
from tests.chaos.load import Delivered, load_on
from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import GatewayProcess, gateway_process

ROUNDS_IN_FULL = 10
# A request ends, its sums wait for the next posting, and both are processes of a busy machine.
AT_MOST_LOST_SECONDS = POST_SECONDS + 0.5
SHIPPED_SECONDS = 60.0

pytestmark = pytest.mark.timeout(1800)


@dataclass
class Scene:
    """A store, two scripted models that never escalate, and what clients were given so far."""

    folder: Path
    store: StoreServer
    student_url: str
    teacher_url: str
    rounds: range
    delivered: Delivered = field(default_factory=Delivered)

    def gateway(self) -> AbstractContextManager[GatewayProcess]:
        return gateway_process(
            self.folder, self.student_url, self.teacher_url, UNDERSTUDY_REDIS_URL=self.store.url
        )

    def wait_until_shipped(self, gateway: GatewayProcess) -> None:
        def is_shipped() -> bool:
            waits = gateway.metric("understudy_ledger_waiting_seconds")
            return waits == 0 == gateway.metric("understudy_journal_unshipped_bytes")

        wait_until(is_shipped, SHIPPED_SECONDS)

    def billed(self) -> dict[str, str | int]:
        """What an operator is told in the end."""
        command = [sys.executable, "-m", "understudy", "bill", "--format", "json"]
        options = ["--redis-url", self.store.url, "--from", "2026-01-01"]
        done = subprocess.run([*command, *options], capture_output=True, timeout=60, check=True)
        total: dict[str, str | int] = json.loads(done.stdout)["total"]
        return total


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    student = ScriptedModel(Reply(body=completion("Paris.")))
    (tmp_path / "store").mkdir()
    with (
        serving(student) as student_url,
        serving(ScriptedModel()) as teacher_url,
        store_server(tmp_path / "store") as store,
    ):
        rounds = range(ROUNDS_IN_FULL if request.config.getoption("--full") else 1)
        yield Scene(tmp_path, store, student_url, teacher_url, rounds)


@pytest.mark.full
def test_a_killed_gateway_loses_its_last_second_of_the_ledger_at_most(scene: Scene) -> None:
    owed = 0
    for _ in scene.rounds:
        delivered = Delivered()
        with scene.gateway() as gateway, load_on(gateway.url, delivered):
            time.sleep(AT_MOST_LOST_SECONDS)
            a_moment()
            killed = time.monotonic()
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait(60)
        owed += sum(each < killed - AT_MOST_LOST_SECONDS for each in delivered.ended)
        scene.delivered.add(delivered)
    assert owed > 20, "the load was too light to show anything"
    with scene.gateway() as gateway:  # whatever the dead ones left is this one's to find
        scene.wait_until_shipped(gateway)
    assert owed <= int(scene.billed()["requests"]) <= scene.delivered.asked


def terminate(scene: Scene) -> None:
    """Nothing happens to the store; the gateway is told to end, as after every round."""
    a_moment()


def kill(scene: Scene) -> None:
    kill_store(scene.store)


def take_away(scene: Scene) -> None:
    take_store_away(scene.store, 2.0)


def fill(scene: Scene) -> None:
    fill_store(scene.store)


@pytest.mark.full
@pytest.mark.parametrize(
    "fault",
    [
        terminate,
        kill,
        take_away,
        fill,
    ],
)
def test_the_ledger_is_what_the_gateway_counted(
    scene: Scene, fault: Callable[[Scene], None]
) -> None:
    requests, dollars = 0, Decimal(0)
    for _ in scene.rounds:
        with scene.gateway() as gateway:
            with load_on(gateway.url, scene.delivered):
                fault(scene)
            wait_until(lambda: gateway.metric("understudy_open_requests") == 0)
            requests += int(gateway.metric("understudy_requests_total"))
            dollars += Decimal(str(gateway.metric("understudy_cost_usd_total")))
            gateway.process.send_signal(signal.SIGTERM)
            gateway.process.wait(60)
    with scene.gateway() as gateway:
        scene.wait_until_shipped(gateway)
    billed = scene.billed()
    assert requests > 20, "the load was too light to show anything"
    assert billed["requests"] == requests
    assert round(Decimal(str(billed["cost_usd"])), 9) == round(dollars, 9)
