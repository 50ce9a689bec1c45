"""The flywheel from start to finish, and what it leaves behind."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from understudy.demo.asking import Reply, ask_all
from understudy.demo.flywheel.board import Board, summary
from understudy.demo.flywheel.figures import Result, Tallies, checks, of_one_model
from understudy.demo.flywheel.generation import Examiner
from understudy.demo.flywheel.making import Maker
from understudy.demo.flywheel.options import FlywheelOptions
from understudy.demo.flywheel.page import this_machine, write
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.stage import Stage, set_up
from understudy.demo.flywheel.trying import Trial
from understudy.demo.flywheel.turning import Crew, Flywheel
from understudy.demo.flywheel.workload import Workload
from understudy.demo.processes import Processes
from understudy.demo.services import TEACHER_PRICE
from understudy.demo.state import hold_state

NAME = "flywheel"

# A promotion that is told to end takes the candidate back first.
GRACE_SECONDS = 20.0


def run_flywheel(options: FlywheelOptions, console: Console) -> int:
    """Turn it; 0 where all that a run has to show holds, else 1.

    Raises ProcessFailedError, StateInUseError, and ValueError for more questions than there are.
    Whatever happens, every process that it started has ended when it returns.
    """
    workload = Workload(options.seed, options.held_out, options.calibration)
    folder = options.state_dir.resolve()
    logs = folder / "logs"
    with (
        hold_state(folder),
        Processes(logs, GRACE_SECONDS) as processes,
        Board(console).shown() as board,
    ):
        board.begin(0, "starting the store and the teacher")
        stage = set_up(processes, folder, options.threads)
        crew = _crew(options, stage, Product(processes, logs), board)
        turns = Flywheel(crew, workload, options.requests, board).turns(options.generations)
        board.begin(options.generations, "the teacher alone")
        result = Result(
            date=datetime.now(UTC).date().isoformat(),
            command=options.command,
            machine=this_machine(),
            target=options.target,
            teacher=_teacher_alone(stage, workload),
            turns=turns,
            seconds=board.seconds,
        )
    _keep(result, folder, options.page)
    console.print(summary(result))
    console.print(f"The result: {folder / NAME}.md", highlight=False, soft_wrap=True)
    return 0 if all(check.holds for check in checks(result)) else 1


def _crew(options: FlywheelOptions, stage: Stage, product: Product, board: Board) -> Crew:
    return Crew(
        stage=stage,
        examiner=Examiner(product, stage.teacher, options.target, board.tell),
        maker=Maker(
            product=product,
            store_url=stage.store_url,
            pairs=stage.folder / "pairs",
            steps=options.steps,
            seed=options.seed,
            tell=board.tell,
        ),
        trial=Trial(product, stage, options.target),
    )


def _teacher_alone(stage: Stage, workload: Workload) -> Tallies:
    """The teacher's answers to the held-out requests, and what they cost."""

    def on_reply(_: Reply) -> None:
        """Nobody needs to know how far that is: it takes a second."""

    return of_one_model(
        asyncio.run(ask_all(stage.teacher, workload.held_out, on_reply)), TEACHER_PRICE
    )


def _keep(result: Result, folder: Path, page: Path | None) -> None:
    """Write the result, its page and picture into the state directory, and the page elsewhere."""
    content = msgspec.json.format(msgspec.json.encode(result), indent=1)
    (folder / f"{NAME}.json").write_bytes(content + b"\n")
    for path in (folder / f"{NAME}.md", page):
        if path is not None:
            write(result, path)
