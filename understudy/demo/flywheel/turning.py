"""What a generation goes through: traffic, training, questions, the gate, a trial, clients.

A generation that is refused leaves everything as it was, and its successor has more pairs to learn
from.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.demo.asking import Reply
from understudy.demo.flywheel.board import Board
from understudy.demo.flywheel.figures import (
    Fate,
    Tallies,
    Tally,
    Turn,
    all_of,
    of_cascade,
    of_one_model,
)
from understudy.demo.flywheel.generation import Examiner, Generation, Questions, replies_in
from understudy.demo.flywheel.making import Maker
from understudy.demo.flywheel.stage import Stage
from understudy.demo.flywheel.trying import Trial, Verdict
from understudy.demo.flywheel.workload import Workload
from understudy.demo.services import STUDENT_PRICE
from understudy.demo.student import MODEL_VERSION
from understudy.demo.workload import Task


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does what: each runs commands of the product."""

    stage: Stage
    examiner: Examiner
    maker: Maker
    trial: Trial


class Flywheel:
    """Turns generation after generation."""

    def __init__(self, crew: Crew, workload: Workload, requests: int, board: Board) -> None:
        """``requests`` is the traffic between two generations."""
        self._crew = crew
        self._workload = workload
        self._requests = requests
        self._board = board
        questions = crew.stage.folder / "questions"
        self._held_out = Questions(questions / "held-out.jsonl", workload.held_out).write()
        self._calibration = Questions(questions / "calibration.jsonl", workload.calibration).write()

    def turns(self, last: int) -> list[Turn]:
        """Generations 0 to ``last``.  Raises ProcessFailedError."""
        turn, serving = self._first()
        turns = [turn]
        for number in range(1, last + 1):
            turn, serving = self._next(number, serving, turns[-1].cascade)
            turns.append(turn)
        return turns

    def _first(self) -> tuple[Turn, Generation]:
        """The student as it comes, with its own policy if it can have one, meets clients."""
        started = time.monotonic()
        stage = self._crew.stage
        self._board.begin(0, "starting the student")
        deployment = stage.start_student(MODEL_VERSION, None)
        first = Generation(0, deployment, self._folder(0))
        has_policy = self._examine(first)
        self._board.begin(0, "starting the gateway")
        stage.start_gateway(deployment, first.policy if has_policy else None)
        cascade = self._measure(0)
        turn = Turn(
            number=0,
            version=first.deployment.version,
            fate=Fate.FIRST,
            why="" if has_policy else self._no_policy(first),
            training=None,
            student=self._alone(first),
            cascade=cascade,
            under_way=Tally(),
            seconds=time.monotonic() - started,
        )
        self._board.add(turn)
        return turn, first

    def _next(self, number: int, serving: Generation, before: Tallies) -> tuple[Turn, Generation]:
        """One turn; ``before`` is what clients get of the one that serves."""
        started = time.monotonic()
        replies = self._collect(number)
        self._board.begin(number, "training")
        made = self._crew.maker.make(number, self._folder(number), serving.adapter)
        self._board.begin(number, "starting the candidate")
        deployment = self._crew.stage.start_student(made.version, made.weights)
        candidate = Generation(number, deployment, self._folder(number), made.adapter)
        verdict = self._try(candidate, serving)
        is_in = verdict.fate is Fate.PROMOTED
        self._crew.stage.stop_student((serving if is_in else candidate).deployment)
        turn = Turn(
            number=number,
            version=made.version,
            fate=verdict.fate,
            why=verdict.why,
            training=made.training,
            student=self._alone(candidate),
            cascade=self._measure(number) if is_in else before,
            under_way=all_of(of_cascade([*replies, *verdict.replies])),
            seconds=time.monotonic() - started,
        )
        self._board.add(turn)
        return turn, candidate if is_in else serving

    def _collect(self, number: int) -> list[Reply]:
        """Traffic, which leaves pairs."""
        tasks = itertools.islice(self._workload.traffic(f"traffic-{number}"), self._requests)
        return self._ask(number, "traffic", list(tasks), is_stored=True)

    def _measure(self, number: int) -> Tallies:
        """What clients get of the held-out requests now."""
        tasks = self._workload.held_out
        return of_cascade(self._ask(number, "the held-out requests", tasks, is_stored=False))

    def _ask(
        self, number: int, what: str, tasks: Sequence[Task], *, is_stored: bool
    ) -> list[Reply]:
        """Send requests through the gateway, and show how far that is."""
        self._board.begin(number, f"{len(tasks)} requests: {what}")
        done = itertools.count(1)
        return self._crew.stage.ask(
            tasks,
            lambda _: self._board.tell(f"{next(done)} of {len(tasks)}"),
            is_stored=is_stored,
        )

    def _examine(self, generation: Generation) -> bool:
        """Ask it all questions and fit its policy; False where none can keep the promise."""
        number, examiner = generation.number, self._crew.examiner
        self._board.begin(number, "asking the student the held-out questions")
        examiner.record(generation, self._held_out, generation.held_out)
        if not all_of(self._alone(generation)).right:
            return False  # Minutes of questions would come to the same.
        self._board.begin(number, "asking the student the calibration questions")
        examiner.record(generation, self._calibration, generation.calibration)
        self._board.begin(number, "fitting its policy")
        return examiner.calibrate(generation)

    def _try(self, candidate: Generation, serving: Generation) -> Verdict:
        """Let it in if it proves better, while clients go on asking."""
        number, trial = candidate.number, self._crew.trial
        if not self._examine(candidate):
            return Verdict(Fate.REFUSED, self._no_policy(candidate), [])
        self._board.begin(number, "measuring it beside the one that serves")
        trial.evaluate(candidate, serving)
        self._board.begin(number, "letting it in under traffic")
        verdict = trial.promote(candidate, self._workload.traffic(f"trial-{number}"))
        self._crew.stage.wait_for_pairs(verdict.replies)
        return verdict

    def _alone(self, generation: Generation) -> Tallies:
        """The student's own answers to the held-out questions."""
        replies = replies_in(generation.held_out, self._workload.held_out)
        return of_one_model(replies, STUDENT_PRICE)

    def _no_policy(self, generation: Generation) -> str:
        if not all_of(self._alone(generation)).right:
            return "it gets nothing right, so no policy could keep its drafts"
        count = len(self._calibration.tasks)
        return f"{self._crew.examiner.target} cannot be promised by what {count} questions show"

    def _folder(self, number: int) -> Path:
        folder = self._crew.stage.folder / "generations" / f"g{number}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
