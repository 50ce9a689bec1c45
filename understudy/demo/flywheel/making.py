"""Makes the next student of all pairs so far: export, curate, train."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from understudy.demo.flywheel.figures import Training
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE
from understudy.demo.processes import lines_in
from understudy.demo.student import find_weights

# A student of this size learns at ten times the usual rate; tried on these tasks.
LEARNING_RATE = "1e-3"
BATCH_SIZE = "16"
# Measuring the holdout takes time from learning, and so few steps are never too many.
HOLDOUT = ("--holdout-rows", "32", "--patience", "0")
# Questions of these tasks differ by a number or a name, and are no duplicates for that.
NEAR_DUPLICATES_FROM = "1"


@dataclass(frozen=True, slots=True)
class Made:
    """A student that was trained: its version, its weights for llama.cpp, its adapter."""

    version: str
    weights: Path
    adapter: Path
    training: Training


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes students in folders of ``generations``, of the pairs in a store."""

    product: Product
    store_url: str
    pairs: Path
    steps: int
    seed: int
    tell: Callable[[str], None]

    def make(self, number: int, folder: Path, parent: Path | None) -> Made:
        """The student of generation ``number``, which goes on from its parent's adapter, if any.

        Raises ProcessFailedError.
        """
        self.product.run(
            f"g{number}-export",
            *("pairs", "export", str(self.pairs), "--format", "sft"),
            *("--redis-url", self.store_url, "--cascade", CASCADE),
        )
        data = folder / "data"
        self.product.run(
            f"g{number}-curate",
            *("distill", "curate", "--data", str(self.pairs / "dataset"), "--out", str(data)),
            *("--near", NEAR_DUPLICATES_FROM),
        )
        out = folder / "student"
        self._train(number, data, out, parent)
        card = json.loads((out / "card.json").read_bytes())
        metrics = card["metrics"]
        return Made(
            version=card["version"],
            weights=out / "student-q8_0.gguf",
            adapter=out / "adapter",
            training=Training(
                pairs=lines_in(data / "sft-train.jsonl"),
                steps=metrics["steps"],
                loss=metrics["loss"],
                seconds=metrics["seconds"],
            ),
        )

    def _train(self, number: int, data: Path, out: Path, parent: Path | None) -> None:
        log = out / "training.jsonl"
        descent = () if parent is None else ("--parent", str(parent))
        self.product.run(
            f"g{number}-train",
            *("distill", "train", "--data", str(data), "--base", str(find_weights())),
            *("--out", str(out), "--gguf", "--generation", str(number), *descent),
            *("--steps", str(self.steps), "--learning-rate", LEARNING_RATE),
            *("--batch-size", BATCH_SIZE, "--seed", str(self.seed)),
            *("--measure-every", str(self.steps), *HOLDOUT),
            watch=lambda: self.tell(f"{lines_in(log)} of {self.steps} steps"),
        )
