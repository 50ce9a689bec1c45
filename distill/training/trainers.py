"""TRL's trainers, set up by a recipe: the supervised part, and the one on preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from distill.order import order_of
from distill.recipe import Length, Pace, Preference, Recipe
from distill.training.callbacks import Marking, StoppingEarly
from distill.training.models import Device
from distill.training.tokens import Tokens, columns_of, preference_columns_of

# So many lines of the log, whatever the number of steps.
_LOGGED_STEPS = 500
# The newest checkpoint, and the one before it or the best.
_CHECKPOINTS_KEPT = 2


class _InOrder:
    """Rows come as they lie: their order was chosen for the whole training."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)  # type: ignore[attr-defined]


class _Supervised(_InOrder, SFTTrainer):
    """Takes rows that are tokens already."""


class _Preferring(_InOrder, DPOTrainer):
    """Takes rows that are tokens already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


@dataclass(frozen=True, slots=True)
class Setting:
    """What a trainer needs beside a model and rows."""

    recipe: Recipe
    device: Device
    pace: Pace
    length: Length
    stage: Path
    tokenizer: Any
    callbacks: Sequence[Any]


def supervised(
    model: Any, setting: Setting, train: Sequence[Tokens], holdout: Sequence[Tokens]
) -> Any:
    """A trainer on answers."""
    arguments = SFTConfig(
        learning_rate=setting.recipe.chosen_rate,
        max_length=None,
        packing=False,
        **_arguments(setting, has_holdout=bool(holdout)),
    )
    patience = setting.recipe.patience
    return _told_by_us(
        _Supervised(
            model=model,
            args=arguments,
            train_dataset=_laid_out(columns_of(train), train, setting),
            eval_dataset=Dataset.from_dict(columns_of(holdout)) if holdout else None,
            processing_class=setting.tokenizer,
            callbacks=[*setting.callbacks, StoppingEarly(patience), Marking(setting.stage)],
        )
    )


def preferring(
    model: Any, reference: Any, setting: Setting, preference: Preference, rows: Sequence[Tokens]
) -> Any:
    """A trainer on preferences.  ``reference`` None: the adapter as it is now."""
    arguments = DPOConfig(
        learning_rate=preference.learning_rate,
        beta=preference.beta,
        max_length=None,
        **_arguments(setting, has_holdout=False),
    )
    return _told_by_us(
        _Preferring(
            model=model,
            ref_model=reference,
            args=arguments,
            train_dataset=_laid_out(preference_columns_of(rows), rows, setting),
            processing_class=setting.tokenizer,
            callbacks=[*setting.callbacks, Marking(setting.stage)],
        )
    )


def _arguments(setting: Setting, *, has_holdout: bool) -> dict[str, Any]:
    recipe, length = setting.recipe, setting.length
    told: dict[str, Any] = {
        "output_dir": str(setting.stage),
        "max_steps": length.steps,
        "per_device_train_batch_size": setting.pace.micro_batch_size,
        "per_device_eval_batch_size": setting.pace.micro_batch_size,
        "gradient_accumulation_steps": setting.pace.accumulation,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "lr_scheduler_type": "linear",
        "warmup_steps": round(recipe.warmup * length.steps),
        "weight_decay": recipe.weight_decay,
        "bf16": setting.device.is_bf16,
        "use_cpu": setting.device.kind == "cpu",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "logging_steps": max(1, length.steps // _LOGGED_STEPS),
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": length.measure_every,
        "save_total_limit": _CHECKPOINTS_KEPT,
        "dataloader_pin_memory": setting.device.kind != "cpu",
        "disable_tqdm": True,
        "report_to": [],
    }
    if has_holdout:
        told |= {
            "eval_strategy": "steps",
            "eval_steps": length.measure_every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
        }
    return told


def _laid_out(
    columns: dict[str, list[list[int]]], tokens: Sequence[Tokens], setting: Setting
) -> Any:
    """The rows as often and in the order in which they are learnt; nothing is copied."""
    recipe = setting.recipe
    lengths = [len(each) for each in tokens]
    order = order_of(lengths, recipe.batch_size, setting.length.steps, recipe.seed)
    return Dataset.from_dict(columns).select(order)


def _told_by_us(trainer: Any) -> Any:
    trainer.remove_callback(PrinterCallback)
    return trainer


def run(trainer: Any, checkpoint: Path | None) -> None:
    """Train to the end, from a checkpoint where there is one."""
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
