"""One generation: its folder, where it is served, and what it says to questions.

Records, policies and their files are the product's; nothing here decides anything.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.demo.asking import Reply
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE, Deployment, write_config
from understudy.demo.options import Model
from understudy.demo.processes import lines_in
from understudy.demo.workload import Task

CONCURRENCY = "4"
# The teacher's price for a request over the student's, at the demo's prices and these tasks.
PRICE_RATIO = "20"


@dataclass(frozen=True, slots=True)
class Generation:
    """One version of the student, where it is served, and where its files are.

    ``adapter`` is None of the first, which came ready-made.
    """

    number: int
    deployment: Deployment
    folder: Path
    adapter: Path | None = None

    @property
    def held_out(self) -> Path:
        """Its evaluation records of the held-out questions."""
        return self.folder / "held-out.jsonl"

    @property
    def calibration(self) -> Path:
        """Those of the questions that its policy is fitted on."""
        return self.folder / "calibration.jsonl"

    @property
    def policy(self) -> Path:
        """Its own policy; not there where none could keep the promise."""
        return self.folder / "policy.json"

    @property
    def evaluation(self) -> Path:
        """What was measured of it beside the one that served."""
        return self.folder / "evaluation"


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions in a file, as `understudy record` reads them."""

    path: Path
    tasks: Sequence[Task]

    def write(self) -> "Questions":
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(_question(task)) + "\n" for task in self.tasks)
        self.path.write_text("".join(lines), encoding="utf-8")
        return self


@dataclass(frozen=True, slots=True)
class Examiner:
    """Asks generations questions, and fits their policies."""

    product: Product
    teacher: Model
    target: str
    tell: Callable[[str], None]

    def record(self, generation: Generation, questions: Questions, out: Path) -> None:
        """Ask a generation, and the teacher, all questions.  Raises ProcessFailedError."""
        config = generation.folder / "cascade.yaml"
        write_config(config, generation.deployment, self.teacher)
        where = ("--dataset", str(questions.path), "--config", str(config), "--out", str(out))
        count = len(questions.tasks)
        self.product.run(
            f"g{generation.number}-record-{out.stem}",
            *("record", *where, "--concurrency", CONCURRENCY),
            watch=lambda: self.tell(f"{lines_in(out)} of {count} questions"),
        )

    def calibrate(self, generation: Generation) -> bool:
        """Fit a generation its own policy; False where none can keep the promise."""
        words = ("calibrate", str(generation.calibration), "--target", self.target)
        return self.product.is_granted(
            f"g{generation.number}-calibrate",
            *(*words, "--cascade", CASCADE, "--price-ratio", PRICE_RATIO),
            *("--out", str(generation.policy)),
        )


def replies_in(records: Path, tasks: Sequence[Task]) -> list[Reply]:
    """What a student wrote, as evaluation records have it."""
    by_id = {task.id: task for task in tasks}
    replies = []
    for line in records.read_bytes().splitlines():
        record = json.loads(line)
        student = record["student"]
        usage = student.get("usage") or {}
        replies.append(
            Reply(
                by_id[record["id"]],
                text=student["text"],
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
            )
        )
    return replies


def _question(task: Task) -> dict[str, object]:
    """The question alone: the teacher says what is right, as it does to clients."""
    request = {"messages": task.messages, "max_tokens": task.max_tokens, "temperature": 0}
    return {"id": task.id, "group": task.family, "request": request}
