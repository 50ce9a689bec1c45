"""The options of ``understudy distill train``: how the student learns."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from distill.recipe import Precision, Preference, Recipe

_Share = Annotated[float, Parameter(validator=Number(gte=0, lt=1))]
_Positive = Annotated[float, Parameter(validator=Number(gt=0))]
_Count = Annotated[int, Parameter(validator=Number(gte=1))]
_Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Learning:
    """How it learns.

    Parameters
    ----------
    full
        Train all weights, not an adapter (LoRA): ten times the memory.
    rank
        LoRA's rank; 16 where there is no parent.
    alpha
        LoRA's scale; twice the rank.
    dropout
        LoRA's dropout.
    learning_rate
        The highest rate; 2e-4 for LoRA, 2e-5 with --full.  Very small models take 1e-3.
    epochs
        How often each row is learnt.
    steps
        Exactly so many steps, whatever --epochs says.
    batch_size
        Rows of one step, of all processes together.
    micro_batch_size
        Rows that a device holds at once; the gradients of a step's are added up.
    warmup
        The share of the steps in which the rate rises.
    weight_decay
        How strongly weights are drawn towards zero.
    max_length
        Tokens of prompt and answer; longer rows are left out and counted, never cut.
    measure_every
        Steps between measurements of the holdout, each with a checkpoint; a tenth of all.
    patience
        Stop after so many measurements without a better one; 0 never stops early.
    holdout_rows
        Measure on at most so many rows of the holdout.
    precision
        auto takes bfloat16 where the device computes in it.
    gradient_checkpointing
        Compute again instead of keeping: less memory, a quarter slower.
    seed
        Of everything that is drawn.
    dpo
        Then learn to prefer the answer to the draft (dpo-train.jsonl), from the student so far.
    dpo_epochs
        How often each preference is learnt.
    dpo_learning_rate
        The highest rate of that part.
    dpo_beta
        How closely it stays to the student so far; higher is closer.
    """

    full: _Flag = False
    rank: _Count | None = None
    alpha: _Positive | None = None
    dropout: _Share = 0.0
    learning_rate: _Positive | None = None
    epochs: _Positive = 3.0
    steps: _Count | None = None
    batch_size: _Count = 16
    micro_batch_size: _Count = 8
    warmup: _Share = 0.05
    weight_decay: _Share = 0.0
    max_length: _Count = 1024
    measure_every: _Count | None = None
    patience: Annotated[int, Parameter(validator=Number(gte=0))] = 3
    holdout_rows: Annotated[int, Parameter(validator=Number(gte=0))] = 256
    precision: Precision = "auto"
    gradient_checkpointing: _Flag = False
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**32))] = 0
    dpo: _Flag = False
    dpo_epochs: _Positive = 1.0
    dpo_learning_rate: _Positive = 1e-5
    dpo_beta: _Positive = 0.1

    def recipe(self) -> Recipe:
        """The same in the words of distill.  Raises CannotTrain where two do not go together."""
        preference = Preference(self.dpo_epochs, self.dpo_learning_rate, self.dpo_beta)
        return Recipe(
            full=self.full,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            max_length=self.max_length,
            measure_every=self.measure_every,
            patience=self.patience,
            holdout_rows=self.holdout_rows,
            precision=self.precision,
            gradient_checkpointing=self.gradient_checkpointing,
            seed=self.seed,
            preference=preference if self.dpo else None,
        )
