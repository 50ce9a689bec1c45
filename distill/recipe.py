"""How a student is trained: the numbers, what they come to for a data set, and which precision.

Nothing here needs a training library, so that bad numbers are told before one is loaded.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Precision = Literal["auto", "bf16", "fp32"]

# Where nobody says otherwise.  LoRA takes a rate about ten times that of full training.
LORA_LEARNING_RATE, FULL_LEARNING_RATE = 2e-4, 2e-5
RANK, ALPHA_PER_RANK = 16, 2
# So many measurements of the holdout, and as many checkpoints, in one training.
MEASUREMENTS = 10


class CannotTrain(Exception):
    """Why there is no training; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Preference:
    """Direct preference optimisation after the supervised part; its own epochs and rate."""

    epochs: float = 1.0
    learning_rate: float = 1e-5
    beta: float = 0.1


@dataclass(frozen=True, slots=True)
class Recipe:
    """All numbers of a training.

    ``batch_size`` is the rows of one step, of all processes together; ``micro_batch_size`` how
    many of them a device holds at once.  ``steps`` overrides ``epochs``.  ``warmup`` is a share
    of the steps.  ``measure_every`` is in steps; None is a tenth of them.  ``patience`` is how
    many measurements may pass without a better one; 0 never stops early.
    """

    full: bool = False
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    learning_rate: float | None = None
    epochs: float = 3.0
    steps: int | None = None
    batch_size: int = 16
    micro_batch_size: int = 8
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_length: int = 1024
    measure_every: int | None = None
    patience: int = 3
    holdout_rows: int = 256
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    seed: int = 0
    preference: Preference | None = None

    def __post_init__(self) -> None:
        if self.full and not (self.rank is None and self.alpha is None and self.dropout == 0.0):
            raise CannotTrain("--rank, --alpha and --dropout are LoRA's: leave them out, or --full")

    @property
    def chosen_rank(self) -> int:
        """LoRA's rank."""
        return RANK if self.rank is None else self.rank

    @property
    def chosen_alpha(self) -> float:
        """LoRA's scale, before it is divided by the rank."""
        return float(ALPHA_PER_RANK * self.chosen_rank) if self.alpha is None else self.alpha

    @property
    def chosen_rate(self) -> float:
        """The highest learning rate of the supervised part."""
        if self.learning_rate is not None:
            return self.learning_rate
        return FULL_LEARNING_RATE if self.full else LORA_LEARNING_RATE

    def document(self) -> dict[str, Any]:
        """All of it with what was left open filled in, for the card."""
        told = asdict(self)
        if self.full:
            del told["rank"], told["alpha"], told["dropout"]
        else:
            told |= {"rank": self.chosen_rank, "alpha": self.chosen_alpha}
        return told | {"learning_rate": self.chosen_rate}


@dataclass(frozen=True, slots=True)
class Pace:
    """How a step is divided: rows at once on a device, and how often before the weights move."""

    micro_batch_size: int
    accumulation: int


def pace_of(recipe: Recipe, processes: int) -> Pace:
    """The division of a step among processes.  Raises CannotTrain where it does not divide.

    A step has the same rows whatever the number of processes, so that a result does too.
    """
    each, rest = divmod(recipe.batch_size, processes)
    if rest or each == 0:
        raise CannotTrain(
            f"--batch-size {recipe.batch_size} does not divide among {processes} processes: "
            f"choose a multiple of {processes}"
        )
    micro = max(
        size for size in range(1, min(recipe.micro_batch_size, each) + 1) if each % size == 0
    )
    return Pace(micro, each // micro)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a part of the training is, in steps."""

    steps: int
    measure_every: int


def length_of(recipe: Recipe, rows: int) -> Length:
    """The length of the supervised part."""
    steps = recipe.steps or _steps(rows, recipe.batch_size, recipe.epochs)
    return Length(steps, recipe.measure_every or max(1, steps // MEASUREMENTS))


def preference_length_of(preference: Preference, recipe: Recipe, rows: int) -> Length:
    """The length of the part on preferences."""
    steps = _steps(rows, recipe.batch_size, preference.epochs)
    return Length(steps, max(1, steps // MEASUREMENTS))


def _steps(rows: int, batch_size: int, epochs: float) -> int:
    return max(1, math.ceil(rows * epochs / batch_size))


def is_bf16(asked: Precision, device: str, *, is_supported: bool) -> bool:
    """Whether to train in bfloat16 on a device (``cpu``, ``cuda`` …).

    ``is_supported``: the device computes in it.  A CPU that does not still does it by way of
    fp32, slowly; asked for, that is granted.  Raises CannotTrain where it cannot be done.
    """
    if asked == "auto":
        return is_supported
    if asked == "bf16" and not is_supported and device != "cpu":
        raise CannotTrain(f"--precision bf16: this {device} device has none; use fp32 or auto")
    return asked == "bf16"


def is_stuck(losses: list[float], patience: int) -> bool:
    """Whether the last ``patience`` measurements brought none better than those before them."""
    if patience == 0 or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
