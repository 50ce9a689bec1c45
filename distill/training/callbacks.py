"""What happens between the steps of a trainer: telling, noting, marking checkpoints, stopping."""

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from distill.folder import mark_whole
from distill.progress import Moment, Watcher, seconds_left
from distill.recipe import CannotTrain, is_stuck
from distill.trail import Point, Trail

HOLDOUT_LOSS = "eval_loss"


class Telling(TrainerCallback):
    """Notes each logged step in the trail, and tells the watcher of every step."""

    def __init__(self, stage: str, trail: Trail, watcher: Watcher) -> None:
        self._stage, self._trail, self._watcher = stage, trail, watcher
        self._seconds_before = trail.seconds
        self._started = time.monotonic()
        self._begun_at: int | None = None
        self._loss: float | None = None
        self._holdout_loss: float | None = None

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The clock starts, where a kill left off."""
        self._started = time.monotonic()
        self._begun_at = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step further."""
        if state.global_step % state.logging_steps:  # else it is told once its loss is known
            self._tell(state, is_measured=False)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """A point for the trail.  Raises CannotTrain where the loss is no number any more."""
        if logs is None or not ({"loss", HOLDOUT_LOSS} & logs.keys()):
            return
        loss, holdout_loss = logs.get("loss"), logs.get(HOLDOUT_LOSS)
        step = state.global_step
        for value in (loss, holdout_loss):
            if value is not None and not math.isfinite(value):
                raise CannotTrain(
                    f"the loss is {value} at step {step}: try a lower --learning-rate, or "
                    "--precision fp32"
                )
        self._loss = loss if loss is not None else self._loss
        self._holdout_loss = holdout_loss if holdout_loss is not None else self._holdout_loss
        seconds = round(
            self._seconds_before + (self._seconds if self._begun_at is not None else 0), 3
        )
        point = Point(self._stage, step, seconds, loss, holdout_loss, logs.get("learning_rate"))
        self._trail.add(point)
        if step > 0:
            self._tell(state, is_measured=holdout_loss is not None)

    def _tell(self, state: Any, *, is_measured: bool) -> None:
        step, steps, seconds = state.global_step, state.max_steps, self._seconds
        self._watcher.at(
            Moment(
                stage=self._stage,
                step=step,
                steps=steps,
                seconds_left=seconds_left(step, steps, self._begun_at or 0, seconds),
                loss=self._loss,
                holdout_loss=self._holdout_loss,
                is_measured=is_measured,
            )
        )


class Marking(TrainerCallback):
    """Says of a checkpoint that it is whole, once it is."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The first process has written all of it but for what the others add."""
        if state.is_world_process_zero:
            mark_whole(self._stage, state.global_step)


class StoppingEarly(TrainerCallback):
    """Ends a training whose holdout gets no better.

    It remembers nothing, and judges by the trainer's history, which is part of a checkpoint.  The
    step at which it stops is not one: a training that is killed there comes back and stops again.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The holdout was measured."""
        losses = [entry[HOLDOUT_LOSS] for entry in state.log_history if HOLDOUT_LOSS in entry]
        if is_stuck(losses, self._patience) and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = False
