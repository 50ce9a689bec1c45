"""Lets a candidate in, or does not: evaluation, gate, smoke test, shadow, canary, all by commands.

Traffic of the workload goes on meanwhile, because a trial lives on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routing.policy import DEFAULT_THRESHOLD
from understudy.demo.asking import Reply
from understudy.demo.flywheel.figures import Fate
from understudy.demo.flywheel.generation import Generation
from understudy.demo.flywheel.live import LiveTraffic
from understudy.demo.flywheel.product import Product
from understudy.demo.flywheel.services import CASCADE
from understudy.demo.flywheel.stage import Stage
from understudy.demo.workload import Task

# A run lasts minutes and sees hundreds of requests, not a day's: the trials are short, the shares
# and the share that is held out large, and margins are what so few requests can tell.
MANNER = (
    "--shadow-share", "1", "--share", "0.5", "--holdout", "0.5", "--alpha", "0.1",
    "--hours", "0.2", "--errors-margin", "0.1", "--escalations-margin", "0.15",
    "--disagreement-margin", "0.2", "--least-shadow", "60", "--least-requests", "60",
    "--least-held-out", "20",
)  # fmt: skip


# How much of the incumbent cascade's quality the gate lets go: of 200 held-out requests a candidate
# may lose two, 1%, and is shown to be within this with 95% confidence; with three it is refused.
QUALITY_MARGIN = "0.035"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a candidate; ``why`` says what stopped it, ``replies`` what clients got."""

    fate: Fate
    why: str
    replies: list[Reply]


@dataclass(frozen=True, slots=True)
class Trial:
    """Tries candidates on the stage."""

    product: Product
    stage: Stage
    target: str

    def evaluate(self, candidate: Generation, incumbent: Generation) -> None:
        """Measure it beside the incumbent on the held-out questions."""
        old = ("--incumbent-policy", str(incumbent.policy))
        self.product.run(
            f"g{candidate.number}-evaluate",
            *("distill", "evaluate", "--candidate", str(candidate.held_out)),
            *("--candidate-policy", str(candidate.policy)),
            *("--incumbent", str(incumbent.held_out)),
            *(
                old
                if incumbent.policy.exists()
                else ("--incumbent-uncalibrated", str(DEFAULT_THRESHOLD.value))
            ),
            *("--target", self.target, "--margin", QUALITY_MARGIN),
            *("--out", str(candidate.evaluation)),
        )

    def promote(self, candidate: Generation, traffic: Iterator[Task]) -> Verdict:
        """Let it in, step by step, under traffic; or see it refused or sent back."""
        name = f"g{candidate.number}-promote"
        model = candidate.deployment.model
        live = LiveTraffic(self.stage.cascade, traffic)
        with live.flowing():
            is_promoted = self.product.is_granted(
                name,
                *("distill", "promote", "--config", str(self.stage.config), "--json"),
                *("--evaluation", str(candidate.evaluation), "--policy", str(candidate.policy)),
                *("--records", str(candidate.held_out)),
                *("--student-url", model.base_url, "--student-model", model.name),
                *("--redis-url", self.stage.store_url, "--cascade", CASCADE),
                *("--quality-margin", QUALITY_MARGIN, *MANNER),
            )
        if is_promoted:
            return Verdict(Fate.PROMOTED, "", live.replies)
        fate, why = stopped_by(self.product.told(name))
        return Verdict(fate, why, live.replies)


def stopped_by(told: Sequence[Mapping[str, Any]]) -> tuple[Fate, str]:
    """What stopped a candidate, as ``understudy distill promote --json`` told it."""
    refused = [
        f"{each['name']}: {each['why']}"
        for each in told
        if each["event"] == "check" and not each["passed"]
    ]
    if refused:
        return Fate.REFUSED, "; ".join(refused)
    steps = [each["why"] for each in told if each["event"] == "step"]
    return Fate.ROLLED_BACK, steps[-1] if steps else "nobody says why"
