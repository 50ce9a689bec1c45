"""Whether synthetic rows where the student fails teach more than as many pairs of the traffic.

With the product's own commands, the demo's workload, its stand-in teacher and the real student.
The traffic is unbalanced: two kinds of task are rare in it, so that a student that learnt from few
of its pairs still fails on them.  From that student on two others are trained, alike in everything
but the rows that are added, and measured on the same questions, which neither has seen.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.processes import StartFailed
from bench.synthetic_data import (
    Drawn,
    Question,
    draw,
    labelled,
    write_data_set,
    write_lines,
    write_questions,
)
from bench.synthetic_report import Arm, Measured, SyntheticReport, measured_in, report_of
from understudy.demo.processes import Processes, ProcessFailedError, Program, free_ports
from understudy.demo.services import STUDENT_PRICE, TEACHER_PRICE, teacher_program
from understudy.demo.services import student_program as own_student
from understudy.demo.student import find_weights

ROWS, SEEDS, STEPS = 40, 3, 12
LEARNING_RATE = "1e-3"
CASCADE = "bench"
RECORD_CONCURRENCY = "4"
READY_SECONDS = 120.0
# More of llama.cpp's threads wait for each other, and on a busy machine for ever so long.
STUDENT_THREADS = 1
# Sums of what torch's threads add up in another order differ from run to run.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SyntheticPlan:
    """So many rows are added, in trainings of so many steps, with so many seeds."""

    rows: int = ROWS
    seeds: int = SEEDS
    steps: int = STEPS


def compare_synthetic(
    plan: SyntheticPlan, folder: Path | None, progress: Progress
) -> SyntheticReport:
    """Run the whole experiment; ``folder`` is where its files lie and stay.

    Raises StartFailed where a command or a server fails, with the end of its log.
    """
    with _folder(folder) as work, Processes(work / "logs") as processes:
        try:
            return _Experiment(plan, work, processes, progress).run()
        except (ProcessFailedError, OSError) as error:
            raise StartFailed(str(error)) from None


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bench-synthetic-") as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class _Experiment:
    plan: SyntheticPlan
    work: Path
    processes: Processes
    progress: Progress

    def run(self) -> SyntheticReport:
        drawn = draw(self.plan.rows)
        write_data_set(self.work / "pairs", drawn.pairs, drawn.test)
        start = self._trained(Arm.START, 0, [self.work / "pairs"], None)
        before = self._measured(Arm.START, 0, start, drawn.test)
        extra = {
            Arm.TARGETED: self._targeted(start, drawn),
            Arm.UNTARGETED: self.work / "untargeted.jsonl",
        }
        write_lines(extra[Arm.UNTARGETED], [each.row() for each in drawn.untargeted])
        found = [before]
        for seed in range(1, self.plan.seeds + 1):
            for arm, rows in extra.items():
                data = [self.work / "curated", rows]
                trained = self._trained(arm, seed, data, start)
                found.append(self._measured(arm, seed, trained, drawn.test))
        report = json.loads((self.work / "targeted.card.json").read_bytes())
        return report_of(found, report, steps=self.plan.steps)

    def _targeted(self, start: Path, drawn: Drawn) -> Path:
        """The rows that the teacher writes where the student of the start fails."""
        records = self._recorded("start-traffic", start, drawn.traffic)
        curated, out = self.work / "curated", self.work / "targeted.jsonl"
        self._run(
            "curate", "distill", "curate", "--data", self.work / "pairs", "--out", curated,
            "--records", records,
        )  # fmt: skip
        if out.exists():
            return out
        (port,) = free_ports(1)
        program, teacher = teacher_program(port, 0.0)
        with Processes(self.work / "logs") as processes:
            processes.start(program)
            processes.wait_ready(program)
            config = self._config(teacher.base_url, teacher.base_url, "none")
            self._run(
                "synthesize", "distill", "synthesize", "--data", curated, "--clusters",
                curated / "clusters.json", "--config", config, "--out", out, "--rows",
                self.plan.rows, "--most-share", "0.5", "--budget-usd", "1",
            )  # fmt: skip
        return out

    def _trained(self, arm: Arm, seed: int, data: Sequence[Path], parent: Path | None) -> Path:
        """The folder of a student; what is finished there already is not made again."""
        out = self.work / f"{arm.value}-{seed}"
        self.progress(f"training {out.name}")
        weights = find_weights()
        self._run(
            f"train-{out.name}", "distill", "train", "--data", *data, "--base", weights, "--out",
            out, "--name", "bench", "--gguf", "--steps", self.plan.steps, "--seed", seed,
            "--learning-rate", LEARNING_RATE, "--patience", 0, "--holdout-rows", 0,
            *(() if parent is None else ("--parent", parent / "adapter")),
        )  # fmt: skip
        return out

    def _measured(
        self, arm: Arm, seed: int, trained: Path, questions: Sequence[Question]
    ) -> Measured:
        return measured_in(arm, seed, self._recorded(trained.name, trained, questions))

    def _recorded(self, name: str, trained: Path, questions: Sequence[Question]) -> Path:
        """What a student makes of questions, each told right or wrong by its family's checker."""
        self.progress(f"asking {name}")
        asked, raw = self.work / f"{name}.questions.jsonl", self.work / f"{name}.raw.jsonl"
        write_questions(asked, questions)
        (port,) = free_ports(1)
        program, model = own_student(port, STUDENT_THREADS)
        weights = ("--weights", str(trained / "student-q8_0.gguf"))
        program = Program(program.name, (*program.command, *weights), program.is_ready)
        with Processes(self.work / "logs") as processes:
            processes.start(program)
            processes.wait_ready(program, READY_SECONDS)
            config = self._config(model.base_url, model.base_url, model.name)
            self._run(
                f"record-{name}", "record", "--dataset", asked, "--config", config, "--out", raw,
                "--no-teacher", "--concurrency", RECORD_CONCURRENCY,
            )  # fmt: skip
        return labelled(raw, questions)

    def _config(self, student: str, teacher: str, model: str) -> Path:
        prices = [
            {name: float(usd) for name, usd in price.items()}
            for price in (STUDENT_PRICE, TEACHER_PRICE)
        ]
        cascade = {
            "student": {
                "base_url": student, "model": model, "version": "bench", "price": prices[0],
            },
            "teacher": {
                "base_url": teacher, "model": "stand-in", "price": prices[1],
                "outputs_may_train": True,
            },
        }  # fmt: skip
        path = self.work / "cascades.yaml"
        path.write_text(yaml.safe_dump({"cascades": {CASCADE: cascade}}))
        return path

    def _run(self, name: str, *arguments: object) -> None:
        command = (sys.executable, "-m", "understudy", *map(str, arguments))
        program = Program(name, command, lambda: True, ONE_THREAD)
        self.processes.run(program, lambda: None)
