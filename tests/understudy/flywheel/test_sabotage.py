"""A student that was trained on answers to other questions is sure of them, and wrong."""

import importlib.util
import json
import random
from itertools import islice
from pathlib import Path

import pytest

from understudy.demo.flywheel.command import NEEDED_PACKAGES
from understudy.demo.flywheel.generation import Examiner, Generation, Questions
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE, write_config
from understudy.demo.flywheel.stage import Stage, set_up
from understudy.demo.flywheel.trying import Trial
from understudy.demo.flywheel.workload import UNLEARNABLE, Workload
from understudy.demo.processes import Processes
from understudy.demo.student import MODEL_VERSION, find_weights
from understudy.demo.workload import Task

pytestmark = [pytest.mark.full, pytest.mark.distill, pytest.mark.timeout(1200)]

ROWS, STEPS, QUESTIONS = 160, 10, 60


@pytest.fixture(autouse=True)
def _needs_what_trains() -> None:
    missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: ./dev flywheel --help installs them")


def test_the_gate_refuses_a_student_trained_on_shuffled_answers(tmp_path: Path) -> None:
    workload = Workload(1, QUESTIONS, QUESTIONS)
    data = tmp_path / "shuffled.jsonl"
    write_shuffled(data, list(islice(workload.traffic("sabotage"), ROWS)))
    with Processes(tmp_path / "logs") as processes:
        stage = set_up(processes, tmp_path, threads=1)
        product = Product(processes, tmp_path / "logs")
        candidate = examined(stage, product, workload, data)
        is_let_in = product.is_granted(
            "promote",
            *("distill", "promote", "--config", str(stage.config), "--json"),
            *("--evaluation", str(candidate.evaluation), "--policy", str(candidate.policy)),
            *("--records", str(candidate.held_out), "--quality-margin", "0.1"),
            *("--student-url", candidate.deployment.model.base_url),
            *("--student-model", candidate.deployment.model.name),
            *("--redis-url", stage.store_url, "--cascade", CASCADE),
        )
        assert not is_let_in
        told = product.told("promote")
        assert [each for each in told if each["event"] == "step"] == []
        refused = {each["name"]: each["why"] for each in told if not each["passed"]}
        assert "quality" in refused
        assert "bill" not in refused  # cheaper it would be


def examined(stage: Stage, product: Product, workload: Workload, data: Path) -> Generation:
    """Train on the rows, and do all that comes before a promotion, of it and of who serves."""
    stage_questions = stage.folder / "questions"
    held_out = Questions(stage_questions / "held-out.jsonl", workload.held_out).write()
    calibration = Questions(stage_questions / "calibration.jsonl", workload.calibration).write()
    examiner = Examiner(product, stage.teacher, "escalation_rate=0.5", lambda _: None)
    for folder in ("g0", "g1"):
        (stage.folder / folder).mkdir()
    first = Generation(0, stage.start_student(MODEL_VERSION, None), stage.folder / "g0")
    write_config(stage.config, first.deployment, stage.teacher)
    examiner.record(first, held_out, first.held_out)
    out = stage.folder / "student"
    product.run(
        "train",
        *("distill", "train", "--data", str(data), "--base", str(find_weights())),
        *("--out", str(out), "--gguf", "--steps", str(STEPS), "--learning-rate", "1e-3"),
        *("--patience", "0"),
    )
    version = json.loads((out / "card.json").read_bytes())["version"]
    deployment = stage.start_student(version, out / "student-q8_0.gguf")
    candidate = Generation(1, deployment, stage.folder / "g1")
    examiner.record(candidate, calibration, candidate.calibration)
    examiner.record(candidate, held_out, candidate.held_out)
    assert examiner.calibrate(candidate)
    Trial(product, stage, "quality=0.9").evaluate(candidate, first)
    return candidate


def write_shuffled(path: Path, tasks: list[Task]) -> None:
    """Rows whose answers are those of other questions of the same kind."""
    by_family: dict[str, list[Task]] = {}
    for task in tasks:
        by_family.setdefault(task.family, []).append(task)
    del by_family[UNLEARNABLE.name]
    rows = []
    for family in by_family.values():
        others = family[1:] + family[:1]
        rows += [
            {
                "id": task.id,
                "prompt": list(task.messages),
                "completion": [{"role": "assistant", "content": other.expected}],
            }
            for task, other in zip(family, others, strict=True)
        ]
    random.Random(1).shuffle(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
