"""What a cascade is to be held to, and whose drafts that is about: from it controllers are made."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.steering.config import QualityConfig, RateConfig, SpendConfig, SteeredConfig
from routing.errors import PolicyError
from routing.pacing import new_pacer, pacer_from_document
from routing.pacing_goal import Goal, RateGoal, SpendGoal
from routing.promise import HeadStart, Terms, new_promise, promise_from_document
from routing.steering import KEEP_NOTHING, Controller, Standing
from routing.vocabulary import Threshold


@dataclass(frozen=True, slots=True)
class Aim:
    """An objective, and all that its controller has to know.

    ``subject`` names student, policy, teacher and comparator: where it changes, what was learnt
    counts no more.  ``policy_threshold`` holds until a rate or spend is known.
    """

    objective: SteeredConfig
    subject: str
    policy_threshold: Threshold
    audit_share: float
    complete: float
    head_start: HeadStart | None = None

    @property
    def digest(self) -> str:
        """What tells it from others: 16 hexadecimal digits."""
        told = msgspec.json.encode([
            self.objective.model_dump(mode="json"), self.subject, self.audit_share, self.complete
        ])  # fmt: skip
        return hashlib.sha256(told).hexdigest()[:16]

    @property
    def first(self) -> Standing:
        """What holds while nobody knows anything: a promise keeps nothing."""
        is_promise = isinstance(self.objective, QualityConfig)
        threshold = KEEP_NOTHING if is_promise else self.policy_threshold.value
        cap = self.objective.cap_pico if isinstance(self.objective, SpendConfig) else None
        return Standing(
            revision=0,
            epoch=0,
            threshold=threshold,
            complete=1.0 if is_promise else 0.0,
            cap_pico=cap,
            line=f"{self.objective.kind}: nothing is known yet",
        )

    def begin(self, revision: int) -> Controller:
        """A controller that knows nothing, whose standings have later revisions than this."""
        if isinstance(self.objective, QualityConfig):
            return new_promise(self._terms(self.objective), revision)
        return new_pacer(self._goal(self.objective), self.subject, self.policy_threshold, revision)

    def resume(self, document: Any) -> Controller:
        """Go on where a controller was, with what it learnt that counts for this aim too.

        Raises PolicyError where nothing of it does.
        """
        if isinstance(self.objective, QualityConfig):
            return promise_from_document(document, self._terms(self.objective))
        pacer, goal = pacer_from_document(document), self._goal(self.objective)
        if pacer.subject != self.subject:
            raise PolicyError("subject: it is another's")
        if pacer.goal == goal:
            return pacer
        try:
            return pacer.with_goal(goal)
        except ValueError as error:
            raise PolicyError(f"goal: {error}") from error

    def _terms(self, objective: QualityConfig) -> Terms:
        return Terms(
            alpha=objective.disagreement_at_most,
            delta=objective.delta,
            audit_share=self.audit_share,
            complete=self.complete,
            release=objective.release,
            hold_at_most=objective.hold_at_most,
            subject=self.subject,
            head_start=self.head_start,
        )

    def _goal(self, objective: RateConfig | SpendConfig) -> Goal:
        if isinstance(objective, RateConfig):
            return RateGoal(objective.at_most, self.audit_share)
        return SpendGoal(objective.target_pico, objective.cap_pico, self.audit_share)
