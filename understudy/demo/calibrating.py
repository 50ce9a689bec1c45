"""The demo's labelled phase: questions with known answers, and a policy for the gateway from them.

It runs the product's own commands, `understudy record` and `understudy calibrate`.  Only the labels
are the demo's, by each family's checker.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.applied import apply_policy
from evaluation.records import read_records
from routing.policy import uncalibrated_default
from understudy.demo.processes import Processes, ProcessFailedError, Program, lines_in
from understudy.demo.services import CASCADE
from understudy.demo.workload import Task

TARGET = "quality=0.9"
REFUSED = 1  # the status of `understudy calibrate` where the promise cannot be made
CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Decided:
    """One labelled question as the uncalibrated default rule decides it.

    ``student_usd`` is what its draft cost.
    """

    family: str
    is_kept: bool
    is_right: bool
    student_usd: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of the phase: ``policy`` is None where the promise was refused, ``why`` says it."""

    policy: Path | None
    before: Sequence[Decided]
    why: str


def calibrate(
    tasks: Sequence[Task], config: Path, processes: Processes, watch: Callable[[int], None]
) -> Calibration:
    """Ask the student all of these, label its drafts and fit a policy beside ``config``.

    ``watch`` hears how many are done.  Raises ProcessFailedError where a command fails.
    """
    folder = config.parent
    questions, raw = folder / "questions.jsonl", folder / "records.jsonl"
    labelled, policy = folder / "labelled.jsonl", folder / "policy.json"
    for old in (raw, policy):
        old.unlink(missing_ok=True)
    _write_lines(questions, [_question(task) for task in tasks])
    options = ("--no-teacher", "--concurrency", str(CONCURRENCY), "--cascade", CASCADE)
    record = ("--dataset", str(questions), "--config", str(config), "--out", str(raw))
    processes.run(_program("record", *record, *options), lambda: watch(lines_in(raw)))
    by_id = {task.id: task for task in tasks}
    _write_lines(labelled, [_labelled(line, by_id) for line in raw.read_bytes().splitlines()])
    before = _decided(labelled)
    fit = (str(labelled), "--target", TARGET, "--cascade", CASCADE, "--out", str(policy))
    try:
        processes.run(_program("calibrate", *fit), lambda: None)
    except ProcessFailedError as error:
        if error.status != REFUSED:
            raise
        return Calibration(None, before, f"{TARGET} cannot be promised on {len(tasks)} questions")
    return Calibration(policy, before, "")


def _program(command: str, *arguments: str) -> Program:
    return Program(command, (sys.executable, "-m", "understudy", command, *arguments), lambda: True)


def _question(task: Task) -> dict[str, object]:
    request = {"messages": task.messages, "max_tokens": task.max_tokens, "temperature": 0}
    return {"id": task.id, "group": task.family, "answer": task.expected, "request": request}


def _labelled(line: bytes, tasks: dict[str, Task]) -> dict[str, object]:
    """The record with the word of the family's checker, to whom layouts of JSON are the same."""
    record = json.loads(line)
    student = record["student"]
    student["ok"] = tasks[record["id"]].is_solved_by(student["text"])
    return {**record, "ok_by": "checker"}


def _decided(path: Path) -> list[Decided]:
    rule = uncalibrated_default()
    confidence = apply_policy(rule, read_records(path)).confidence
    return [
        Decided(
            family=record.group or "",
            is_kept=bool(said >= rule.threshold.value),  # NaN, no signal, fails this comparison
            is_right=bool(record.student.ok),
            student_usd=record.student.cost_usd or 0.0,
        )
        for record, said in zip(read_records(path), confidence, strict=True)
    ]


def _write_lines(path: Path, lines: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
