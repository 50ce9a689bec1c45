"""One training from start to end: every part is skipped where a run before this has done it."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from distill.folder import READABLE_CARD, write_file, written
from distill.lessons import Lesson
from distill.lineage import CARD, sha256_of
from distill.order import sample_of
from distill.progress import Watcher
from distill.recipe import CannotTrain, Length, length_of, pace_of, preference_length_of
from distill.student_card import Trained, card_of, encoded, readable, serving
from distill.task import Task
from distill.trail import Trail
from distill.training import gguf_file, models, trainers
from distill.training.callbacks import Telling
from distill.training.tokens import Tokeniser, Tokens

SUPERVISED, PREFERENCES = "sft", "dpo"
_LIBRARIES = ("understudy", "torch", "transformers", "trl", "peft", "accelerate")


def train(task: Task, watcher: Watcher) -> dict[str, Any]:
    """Make what a task wants, and tell its card.  Raises CannotTrain.

    In several processes each calls this; the first writes, and it alone knows the card.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    state = models.processes()
    if task.source.template is not None:
        gguf_file.check_template(task.source.template)
    base = models.base_folder(task.source.base, task.folder)
    card = task.folder.card() or _Training(task, watcher, base).run()
    state.wait_for_everyone()
    if state.is_main_process:
        _finish(task, watcher, base, card)
    state.wait_for_everyone()
    state.destroy_process_group()
    return card


def _finish(task: Task, watcher: Watcher, base: Path, card: dict[str, Any]) -> None:
    """What is made of the trained weights; the card comes last."""
    folder, missing = task.folder, task.missing()
    if {"merged", "gguf"} & set(missing):
        whole = _whole(task, base)
        if "gguf" in missing and task.source.template is not None:
            watcher.note(f"writing {folder.gguf.name}")
            gguf_file.write(folder.gguf, whole, task.source.template, card["version"])
        if "merged" in missing:
            watcher.note("writing merged/")
            with written(folder.merged) as beside:
                _save_whole(whole, base, beside)
    card["serve"] = serving(card, folder)
    write_file(folder.root / READABLE_CARD, readable(card).encode())
    write_file(folder.root / CARD, encoded(card))
    folder.tidy()


def _whole(task: Task, base: Path) -> Any:
    if task.recipe.full:
        return models.load(task.folder.merged, torch.float32)
    return models.merged(base, task.folder.adapter)


def _save_whole(model: Any, base: Path, beside: Path) -> None:
    """In the precision that the base has; the model is changed to it."""
    model.to(transformers.AutoConfig.from_pretrained(base).dtype or torch.float32)
    model.config.use_cache = True
    model.save_pretrained(beside)
    models.tokenizer_of(base).save_pretrained(beside)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as tokens."""

    train: Sequence[Tokens]
    holdout: Sequence[Tokens]
    preferences: Sequence[Tokens]
    counts: dict[str, Any]


class _Training:
    """The part that moves weights."""

    def __init__(self, task: Task, watcher: Watcher, base: Path) -> None:
        self._task, self._watcher, self._base = task, watcher, base
        self._state = models.processes()
        self._device = models.device_for(task.recipe)
        self._tokenizer = models.tokenizer_of(base)
        self._trail = Trail(task.folder.trail if self._state.is_main_process else None)

    def run(self) -> dict[str, Any]:
        """Train all parts, put the weights in place, and say what came of it."""
        recipe = self._task.recipe
        rows = self._rows()
        length = length_of(recipe, len(rows.train))
        self._watcher.note(
            f"{len(rows.train):,} rows, {len(rows.holdout):,} to measure on: {length.steps:,} "
            f"steps of {recipe.batch_size} on {self._device.kind} in "
            f"{'bf16' if self._device.is_bf16 else 'fp32'}"
        )
        result = self._supervised(rows, length)
        if recipe.preference is not None:
            result = self._preferring(rows, result)
        if not self._state.is_main_process:
            return {}
        return self._card(rows, length, self._in_place(result))

    def _rows(self) -> _Rows:
        """Rows as tokens.  Raises CannotTrain where none can be learnt."""
        lessons, recipe = self._task.lessons, self._task.recipe
        ends = models.ends_of(self._base, self._tokenizer)
        tokeniser = Tokeniser(self._tokenizer, ends, recipe.max_length)
        measured = sample_of(len(lessons.holdout), recipe.holdout_rows, recipe.seed)
        train = tokeniser.all_of(lessons.train)
        holdout = tokeniser.all_of([lessons.holdout[at] for at in measured])
        preferences = tokeniser.all_of(lessons.preferences)
        left_out = dict(lessons.left_out + tokeniser.left_out)
        if left_out:
            told = ", ".join(f"{name} {count:,}" for name, count in sorted(left_out.items()))
            self._watcher.note(f"left out: {told}")
        for wanted, found in ((lessons.train, train), (lessons.preferences, preferences)):
            _check_some_left(wanted, found, left_out)
        counts = {
            "train": len(train),
            "holdout": len(holdout),
            "preferences": len(preferences),
            "synthetic": lessons.synthetic,
            "prompt_tokens": sum(len(each.prompt) for each in train),
            "answer_tokens": sum(len(each.answer) for each in train),
            "left_out": left_out,
        }
        return _Rows(train, holdout, preferences, counts)

    def _supervised(self, rows: _Rows, length: Length) -> Path:
        """Where the weights are after the part on answers."""
        result = self._task.folder.result(SUPERVISED)
        if result.is_dir():
            return result
        setting = self._setting(SUPERVISED, length)
        trainer = trainers.supervised(self._fresh(), setting, rows.train, rows.holdout)
        checkpoint = self._resumed(SUPERVISED)
        if checkpoint is None and rows.holdout:
            trainer.evaluate()
        trainers.run(trainer, checkpoint)
        return self._kept(trainer, result)

    def _preferring(self, rows: _Rows, learnt: Path) -> Path:
        """Where the weights are after the part on preferences, with ``learnt`` as reference."""
        recipe = self._task.recipe
        result = self._task.folder.result(PREFERENCES)
        if result.is_dir() or recipe.preference is None:
            return result
        length = preference_length_of(recipe.preference, recipe, len(rows.preferences))
        setting = self._setting(PREFERENCES, length)
        if recipe.full:
            model, reference = (models.load(learnt, torch.float32) for _ in range(2))
        else:
            plain = models.load(self._base, self._device.frozen_dtype)
            model, reference = models.with_adapter(plain, recipe, learnt), None
        trainer = trainers.preferring(
            model, reference, setting, recipe.preference, rows.preferences
        )
        trainers.run(trainer, self._resumed(PREFERENCES))
        return self._kept(trainer, result)

    def _fresh(self) -> Any:
        """What the part on answers begins with."""
        recipe = self._task.recipe
        if recipe.full:
            return models.load(self._base, torch.float32)
        plain = models.load(self._base, self._device.frozen_dtype)
        return models.with_adapter(plain, recipe, self._task.source.parent)

    def _setting(self, stage: str, length: Length) -> trainers.Setting:
        recipe = self._task.recipe
        return trainers.Setting(
            recipe=recipe,
            device=self._device,
            pace=pace_of(recipe, self._state.num_processes),
            length=length,
            stage=self._task.folder.stage(stage),
            tokenizer=self._tokenizer,
            callbacks=[Telling(stage, self._trail, self._watcher)],
        )

    def _resumed(self, stage: str) -> Path | None:
        """The checkpoint to go on from, the same in every process."""
        if self._state.is_main_process:
            self._task.folder.last_checkpoint(stage)
        self._state.wait_for_everyone()
        checkpoint = self._task.folder.last_checkpoint(stage)
        step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
        self._trail.go_back(stage, step if checkpoint is not None else -1)
        if checkpoint is not None:
            self._watcher.note(f"going on after step {step:,}")
        return checkpoint

    def _kept(self, trainer: Any, result: Path) -> Path:
        """The weights of a part that is done, where a killed run finds them."""
        if self._state.is_main_process:
            with written(result) as beside:
                chosen = {} if self._task.recipe.full else {"selected_adapters": ["default"]}
                trainer.model.save_pretrained(beside, **chosen)
        self._state.wait_for_everyone()
        return result

    def _in_place(self, result: Path) -> Path:
        """The trained weights where they stay."""
        task = self._task
        final = task.folder.merged if task.recipe.full else task.folder.adapter
        if not final.is_dir():
            with written(final) as beside:
                if task.recipe.full:
                    _save_whole(models.load(result, torch.float32), self._base, beside)
                else:
                    shutil.copytree(result, beside)
        return final

    def _card(self, rows: _Rows, length: Length, weights: Path) -> dict[str, Any]:
        task, recipe = self._task, self._task.recipe
        files = sorted(weights.glob("*.safetensors"))
        metrics = self._trail.metrics(SUPERVISED)
        metrics["stopped_early"] = metrics["steps"] < length.steps
        if recipe.preference is not None:
            metrics[PREFERENCES] = self._trail.metrics(PREFERENCES)
        used = {"device": self._device.kind, "bf16": self._device.is_bf16}
        trained = Trained(
            version=task.lineage.version(sha256_of(files)),
            options=recipe.document() | used | {"processes": self._state.num_processes},
            counts=rows.counts | {"trained_parameters": _parameters_in(files)},
            metrics=metrics | {"seconds": self._trail.seconds},
            versions={name: _version(name) for name in _LIBRARIES},
            made_at=task.made_at,
        )
        return card_of(trained, task)


def _check_some_left(
    wanted: Sequence[Lesson], found: Sequence[Tokens], left_out: dict[str, Any]
) -> None:
    if wanted and not found:
        raise CannotTrain(
            f"no row can be learnt ({left_out}): too_long is beyond --max-length, and a template "
            "that changes the prompt once it is answered cannot be trained with"
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # ours, run from a checkout that is not installed
        return "unknown"


def _parameters_in(files: Sequence[Path]) -> int:
    total = 0
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            shapes = (tensors.get_slice(name).get_shape() for name in tensors.keys())  # noqa: SIM118 (no mapping)
            total += sum(map(math.prod, shapes))
    return total
