"""The flywheel's commands one by one, against a real vLLM: its adapters are loaded while it runs.

A quarter of an hour on two cores.  It trains, so it needs the extra `distill` beside the tests' own
packages: `./dev distill train --help` installs it.
"""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import httpx
import pytest

from routing.rollout_file import policy_version
from tests.vllm.server import ADAPTERS, SERVED_NAME, started_server, warm_up
from understudy.demo.asking import Reply
from understudy.demo.flywheel.generation import Examiner, Generation, Questions
from understudy.demo.flywheel.live import LiveTraffic
from understudy.demo.flywheel.making import Maker
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE, Deployment
from understudy.demo.flywheel.stage import Stage, set_up
from understudy.demo.flywheel.trying import MANNER, Trial
from understudy.demo.flywheel.workload import Workload
from understudy.demo.options import Model
from understudy.demo.processes import Processes

pytestmark = [pytest.mark.vllm, pytest.mark.distill, pytest.mark.timeout(3600)]

BASE_VERSION = "smollm2-135m-instruct-vllm"
# As much as so few questions can promise, and show.
TARGET, MARGIN = "quality=0.9", "0.3"
REQUESTS = 60
STEPS = 16
QUESTIONS = 100
AFTERWARDS = 12  # requests to see who answers, once something has changed


@pytest.fixture(scope="module")
def adapters_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM server that loads adapters at run time; without /v1."""
    if importlib.util.find_spec("trl") is None:
        pytest.skip("TRL is not installed here: ./dev distill train --help installs it")
    with started_server(tmp_path_factory.mktemp("vllm-adapters"), ADAPTERS) as url:
        warm_up(url)
        yield url


@dataclass(frozen=True)
class Loop:
    """The stage, and who works on it."""

    stage: Stage
    product: Product
    examiner: Examiner
    maker: Maker
    trial: Trial
    vllm: str
    workload: Workload

    def generation(self, number: int, version: str, model: str, adapter: Path | None) -> Generation:
        folder = self.stage.folder / f"g{number}"
        folder.mkdir(exist_ok=True)
        deployment = Deployment(version, Model(f"{self.vllm}/v1", model))
        return Generation(number, deployment, folder, adapter)

    def adapters(self) -> set[str]:
        told = httpx.get(f"{self.vllm}/v1/models", trust_env=False).json()["data"]
        return {each["id"] for each in told} - {SERVED_NAME}

    def load(self, generation: Generation) -> None:
        """As an operator does by hand, to have the candidate answer questions."""
        wanted = {"lora_name": generation.deployment.version, "lora_path": str(generation.adapter)}
        url = f"{self.vllm}/v1/load_lora_adapter"
        httpx.post(url, json=wanted, timeout=60, trust_env=False).raise_for_status()

    def live(self, name: str) -> LiveTraffic:
        return LiveTraffic(self.stage.cascade, self.workload.traffic(name))

    def ask(self, name: str, count: int) -> list[Reply]:
        tasks = list(islice(self.workload.traffic(name), count))
        return self.stage.ask(tasks, lambda _: None, is_stored=True)

    def promote(self, candidate: Generation) -> bool:
        return self.product.is_granted(
            f"g{candidate.number}-promote",
            *("distill", "promote", "--config", str(self.stage.config), "--json"),
            *("--evaluation", str(candidate.evaluation), "--policy", str(candidate.policy)),
            *("--records", str(candidate.held_out), "--load-adapter", str(candidate.adapter)),
            *("--redis-url", self.stage.store_url, "--cascade", CASCADE),
            *("--quality-margin", MARGIN, *MANNER),
        )

    def rollback(self) -> None:
        self.product.run(
            "rollback",
            *("distill", "rollback", "--config", str(self.stage.config), "--json"),
            *("--redis-url", self.stage.store_url, "--cascade", CASCADE),
        )

    def answers(self, name: str) -> list[tuple[str, str]]:
        """Who answers a few requests now, and by which policy."""
        found = []
        for task in islice(self.workload.traffic(name), AFTERWARDS):
            asked = {"model": CASCADE, "messages": task.messages, "max_tokens": task.max_tokens}
            url = f"{self.stage.gateway_url}/v1/chat/completions"
            reply = httpx.post(url, json=asked | {"temperature": 0}, timeout=60, trust_env=False)
            reply.raise_for_status()
            headers = reply.headers
            found.append((headers["x-understudy-served-by"], headers["x-understudy-policy"]))
        return found


@pytest.fixture
def loop(tmp_path: Path, adapters_url: str) -> Iterator[Loop]:
    logs = tmp_path / "logs"
    with Processes(logs) as processes:
        stage = set_up(processes, tmp_path, threads=1)
        product = Product(processes, logs)
        yield Loop(
            stage=stage,
            product=product,
            examiner=Examiner(product, stage.teacher, TARGET, lambda _: None),
            maker=Maker(product, stage.store_url, tmp_path / "pairs", STEPS, 1, lambda _: None),
            trial=Trial(product, stage, TARGET),
            vllm=adapters_url,
            workload=Workload(1, QUESTIONS, QUESTIONS),
        )


def test_the_loop_turns_and_turns_back_without_a_failed_request(loop: Loop) -> None:
    stage, questions = loop.stage, loop.stage.folder / "questions"
    held_out = Questions(questions / "held-out.jsonl", loop.workload.held_out).write()
    calibration = Questions(questions / "calibration.jsonl", loop.workload.calibration).write()
    first = loop.generation(0, BASE_VERSION, SERVED_NAME, None)
    stage.start_gateway(first.deployment, None)
    loop.examiner.record(first, held_out, first.held_out)
    assert failed(loop.ask("traffic", REQUESTS)) == []

    made = loop.maker.make(1, loop.generation(1, "unknown", "unknown", None).folder, None)
    candidate = loop.generation(1, made.version, made.version, made.adapter)
    loop.load(candidate)
    loop.examiner.record(candidate, calibration, candidate.calibration)
    loop.examiner.record(candidate, held_out, candidate.held_out)
    assert loop.examiner.calibrate(candidate)
    loop.trial.evaluate(candidate, first)

    with (there := loop.live("trial")).flowing():
        assert loop.promote(candidate)
    assert failed(there.replies) == []
    promoted = loop.answers("promoted")
    ours = policy_version(json.loads(candidate.policy.read_bytes()))
    assert {policy for _, policy in promoted} == {ours}
    assert any(by == "student" for by, _ in promoted)
    assert loop.adapters() == {candidate.deployment.version}

    with (back := loop.live("rollback")).flowing():
        loop.rollback()
    assert failed(back.replies) == []
    assert {policy for _, policy in loop.answers("rolled-back")} == {"uncalibrated"}


def failed(replies: list[Reply]) -> list[str | None]:
    """What went wrong with those that got no answer."""
    assert replies
    return [reply.error for reply in replies if reply.error is not None]
