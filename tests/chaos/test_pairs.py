"""Every escalation that was delivered in full is in the export exactly once, whatever fails.

A real gateway process, a real Valkey with its append-only file, the official client.  One round of
three faults in every run, twenty of each with --full; and a proof that the test can fail.
"""

import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.export import exported_request_ids
from tests.chaos.faults import (
    a_moment,
    fill_disk,
    fill_store,
    kill_store,
    small_volume,
    take_store_away,
)
from tests.chaos.load import Delivered, load_on
from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import GatewayProcess, gateway_process

ROUNDS_IN_FULL = 20
AWAY_SECONDS, AWAY_SECONDS_IN_FULL = 2.0, 30.0
SHIPPED_SECONDS = 60.0
ENOUGH = 40  # pairs of one load; its workers may not have the answers of the last few

pytestmark = pytest.mark.timeout(1800)


@dataclass
class Scene:
    """A store, two scripted models that always escalate, and what clients were given so far."""

    folder: Path
    store: StoreServer
    student_url: str
    teacher_url: str
    is_full: bool
    delivered: Delivered = field(default_factory=Delivered)

    @property
    def rounds(self) -> range:
        return range(ROUNDS_IN_FULL if self.is_full else 1)

    def gateway(self) -> AbstractContextManager[GatewayProcess]:
        return gateway_process(
            self.folder,
            self.student_url,
            self.teacher_url,
            UNDERSTUDY_REDIS_URL=self.store.url,
            UNDERSTUDY_JOURNAL_WHEN_FULL="refuse",
        )

    def wait_until_shipped(self, gateway: GatewayProcess) -> None:
        wait_until(
            lambda: gateway.metric("understudy_journal_unshipped_bytes") == 0, SHIPPED_SECONDS
        )

    def check(self) -> None:
        """The promise, by what an export gives."""
        counts = Counter(exported_request_ids(self.store.url, self.folder / "export"))
        owed = self.delivered.by_teacher
        assert len(owed) > 20, "the load was too light to show anything"
        assert not owed - counts.keys(), "pairs are lost"
        assert not {each for each, count in counts.items() if count > 1}, "pairs are doubled"


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    student = ScriptedModel(Reply(body=completion("Rome?", UNSURE)))
    teacher = ScriptedModel(Reply(body=completion("Paris, of course.")))
    (tmp_path / "store").mkdir()
    with (
        serving(student) as student_url,
        serving(teacher) as teacher_url,
        store_server(tmp_path / "store") as store,
    ):
        is_full = bool(request.config.getoption("--full"))
        yield Scene(tmp_path, store, student_url, teacher_url, is_full)


def wait_for_load(gateway: GatewayProcess) -> None:
    """Until there are pairs enough to show something; a busy machine takes its time."""
    wait_until(lambda: gateway.metric("understudy_pairs_written_total") > ENOUGH, SHIPPED_SECONDS)


in_full = pytest.mark.full  # each fault alone takes seconds to set up


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="terminated", marks=in_full),
    ],
)
def test_pairs_survive_a_gateway_that_is(scene: Scene, how: signal.Signals) -> None:
    for number in scene.rounds:
        with scene.gateway() as gateway, load_on(gateway.url, scene.delivered):
            if number % 3 == 1:  # what was not shipped yet is the next gateway's to find
                scene.store.stop()
            wait_for_load(gateway)
            a_moment()
            gateway.process.send_signal(how)
            gateway.process.wait(60)
        if number % 3 == 1:
            scene.store.start()
    with scene.gateway() as gateway:
        scene.wait_until_shipped(gateway)
    scene.check()


def kill(scene: Scene) -> None:
    kill_store(scene.store)


def take_away(scene: Scene) -> None:
    take_store_away(scene.store, AWAY_SECONDS_IN_FULL if scene.is_full else AWAY_SECONDS)


def fill(scene: Scene) -> None:
    fill_store(scene.store)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(kill, marks=in_full),
        pytest.param(take_away, marks=in_full),
        pytest.param(fill),
    ],
)
def test_pairs_survive_what_the_store_suffers(scene: Scene, fault: Callable[[Scene], None]) -> None:
    with scene.gateway() as gateway:
        for _ in scene.rounds:
            with load_on(gateway.url, scene.delivered):
                wait_for_load(gateway)
                fault(scene)
        scene.wait_until_shipped(gateway)
    scene.check()


def test_a_full_disk_ends_escalations_and_loses_no_pair(scene: Scene) -> None:
    with small_volume(scene.folder / "state") as volume:
        with scene.gateway() as gateway:
            for _ in scene.rounds:
                with load_on(gateway.url, scene.delivered):
                    wait_for_load(gateway)
                    fill_disk(volume, scene.store)
            scene.wait_until_shipped(gateway)
        assert scene.delivered.by_student, "nothing was refused, so the disk was never full"
        scene.check()


@pytest.mark.full
def test_without_the_journal_the_same_rounds_lose_pairs(scene: Scene) -> None:
    """The test above can fail: here the journal does not outlive its gateway."""
    with scene.gateway() as gateway, load_on(gateway.url, scene.delivered):
        a_moment()
        scene.store.stop()
        a_moment()
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait(60)
    shutil.rmtree(scene.folder / "state")
    scene.store.start()
    with scene.gateway() as gateway:
        scene.wait_until_shipped(gateway)
    with pytest.raises(AssertionError, match="pairs are lost"):
        scene.check()
