import json
from pathlib import Path

import pytest

from gateway.cascades import load_cascades
from routing.policy import DEFAULT_THRESHOLD
from understudy.demo.flywheel.figures import Tally, of_one_model
from understudy.demo.flywheel.generation import Examiner, Generation, Questions, replies_in
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE, Deployment, write_config
from understudy.demo.flywheel.workload import Workload
from understudy.demo.options import Model
from understudy.demo.processes import Processes, ProcessFailedError, lines_in
from understudy.demo.services import STUDENT_PRICE
from understudy.demo.teacher_wire import MODEL
from understudy.record.dataset import Manner, read_dataset

TASKS = Workload(1, 20, 20).held_out
TEACHER = Model("http://127.0.0.1:2/v1", MODEL)


def generation(folder: Path) -> Generation:
    deployment = Deployment("smollm2-g1-3f9c01ab77de", Model("http://127.0.0.1:1/v1", "g1"))
    return Generation(1, deployment, folder)


def records(right: int) -> str:
    """Evaluation records of ``TASKS``, of which the student got the first ``right`` right."""
    lines = [
        {
            "id": task.id,
            "group": task.family,
            "teacher": {"text": task.expected, "ok": True},
            "student": {
                "text": task.expected if place < right else "no idea",
                "ok": place < right,
                "version": "smollm2-g1-3f9c01ab77de",
                "token_logprobs": [-0.5, -1.0],
                "usage": {"prompt_tokens": 50, "completion_tokens": 10},
            },
        }
        for place, task in enumerate(TASKS)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_questions_are_read_by_record_as_clients_ask_them_and_hold_no_answer(
    tmp_path: Path,
) -> None:
    questions = Questions(tmp_path / "questions" / "held-out.jsonl", TASKS).write()
    items = read_dataset(questions.path, CASCADE, Manner())
    assert [item.id for item in items] == [task.id for task in TASKS]
    assert [item.group for item in items] == [task.family for task in TASKS]
    assert not any(item.gold for item in items)


def test_a_students_own_answers_are_read_from_its_records_with_what_they_cost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "held-out.jsonl"
    path.write_text(records(right=7))
    found = of_one_model(replies_in(path, TASKS), STUDENT_PRICE)
    total = sum(found.values(), Tally())
    assert (total.requests, total.right, total.unanswered) == (20, 7, 0)
    assert total.cost_usd * 1_000_000 == 20 * (50 * 2 + 10 * 6) / 100


def test_a_configuration_names_the_students_version_and_its_policy(tmp_path: Path) -> None:
    made = generation(tmp_path)
    path = tmp_path / "cascade.yaml"
    write_config(path, made.deployment, TEACHER)
    (loaded,) = load_cascades(path, lambda _: None)
    assert loaded.name == CASCADE
    assert loaded.config.student.version == made.deployment.version
    assert loaded.config.teacher.outputs_may_train
    assert loaded.config.objective is None  # or no generation would keep to its own threshold
    assert loaded.policy.threshold == DEFAULT_THRESHOLD
    assert not loaded.policy.is_calibrated


@pytest.mark.full
def test_a_student_that_is_always_wrong_gets_no_policy(tmp_path: Path) -> None:
    made = generation(tmp_path)
    made.calibration.write_text(records(right=0))
    with Processes(tmp_path / "logs") as processes:
        product = Product(processes, tmp_path / "logs")
        assert not Examiner(product, TEACHER, "quality=0.99", print).calibrate(made)
    assert not made.policy.exists()
    assert "cannot be promised" in (tmp_path / "logs" / "g1-calibrate.log").read_text()


def test_a_command_that_fails_has_not_said_no(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes:
        product = Product(processes, tmp_path / "logs")
        with pytest.raises(ProcessFailedError, match="check ended with status 2"):
            product.is_granted("check", "check", str(tmp_path / "missing.yaml"))


def test_what_a_command_told_as_json_is_read_from_its_log(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        product = Product(processes, tmp_path)
        (tmp_path / "g1-promote.log").write_text('a warning\n{"event": "step"}\n{"event": "end"}\n')
        assert product.told("g1-promote") == [{"event": "step"}, {"event": "end"}]


def test_lines_of_a_file_that_is_not_there_yet_are_none(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert lines_in(path) == 0
    path.write_text("a\nb\nc")
    assert lines_in(path) == 2
