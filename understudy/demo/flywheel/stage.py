"""Everything that is up while the flywheel turns: the store, the teacher, the gateway, students."""

import asyncio
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from gateway.stores.redis_keys import pairs_key
from understudy.demo import services
from understudy.demo.asking import Reply, ask_all
from understudy.demo.evidence import FROM_THE_START, Mark, wait_for_pairs
from understudy.demo.figures import escalated_ids
from understudy.demo.flywheel.services import CASCADE, Deployment, write_config
from understudy.demo.options import Model
from understudy.demo.processes import Processes, free_ports
from understudy.demo.workload import Task

# What a run leaves in its directory and the next one begins without: another run's generations
# would be in force in its store, and served nowhere.
LEFTOVERS = ("gateway", "generations", "pairs", "questions", "valkey")

# Without examples to read, four at a time take about three quarters of the time of two at a time.
PARALLEL_REQUESTS = 4


@dataclass(slots=True)
class Stage:
    """The processes of one run, and its folder."""

    processes: Processes
    folder: Path
    threads: int
    teacher: Model
    store_url: str
    gateway_url: str = ""

    @property
    def cascade(self) -> Model:
        """The gateway's cascade, as a client sees it."""
        return Model(f"{self.gateway_url}/v1", CASCADE)

    @property
    def config(self) -> Path:
        """The gateway's configuration: its student is generation 0 for good."""
        return self.folder / "gateway.yaml"

    def start_student(self, version: str, weights: Path | None) -> Deployment:
        """Serve a generation, where ``weights`` is None the one that comes with the demo."""
        (port,) = free_ports(1)
        program, model = services.student_program(
            port, self.threads, services.StudentOptions(weights, version, PARALLEL_REQUESTS)
        )
        self.processes.start(program)
        self.processes.wait_ready(program)
        return Deployment(version, model)

    def stop_student(self, deployment: Deployment) -> None:
        """Stop serving a generation."""
        self.processes.end(deployment.version)

    def start_gateway(self, student: Deployment, policy: Path | None) -> None:
        """Serve the cascade with this student; from then on the registry says who serves."""
        write_config(self.config, student, self.teacher, policy)
        (port,) = free_ports(1)
        program, self.gateway_url = services.gateway_program(
            port,
            self.config,
            self.folder / "gateway",
            {"UNDERSTUDY_REDIS_URL": self.store_url},
        )
        self.processes.start(program)
        self.processes.wait_ready(program)

    def ask(
        self, tasks: Iterable[Task], on_reply: Callable[[Reply], None], *, is_stored: bool
    ) -> list[Reply]:
        """Send requests through the gateway; where they are stored, their pairs are waited for."""

        async def work() -> list[Reply]:
            replies = await ask_all(self.cascade, tasks, on_reply, is_stored=is_stored)
            if is_stored:
                await self._wait_for_pairs(replies)
            return replies

        return asyncio.run(work())

    def wait_for_pairs(self, replies: list[Reply]) -> None:
        """Wait until the pairs of these are in the store, or time is up."""
        asyncio.run(self._wait_for_pairs(replies))

    async def _wait_for_pairs(self, replies: list[Reply]) -> None:
        start = Mark(0, FROM_THE_START)
        async with Redis.from_url(self.store_url) as store:
            await wait_for_pairs(store, start, escalated_ids(replies), pairs_key(CASCADE))


def set_up(processes: Processes, folder: Path, threads: int) -> Stage:
    """A stage with a store and a teacher, in a folder without an earlier run's leftovers."""
    for name in LEFTOVERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    teacher_port, store_port = free_ports(2)
    teacher, teacher_model = services.teacher_program(teacher_port, 0.0)
    store, store_url = services.valkey_program(store_port, folder / "valkey")
    for program in (teacher, store):
        processes.start(program)
    for program in (teacher, store):
        processes.wait_ready(program)
    return Stage(processes, folder, threads, teacher_model, store_url)
