"""A policy applied to records: the gateway's own functions, asked about each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.curves import Ranking, mean_quality
from evaluation.errors import EvaluationError
from evaluation.features import has_prompt, prompt_in
from evaluation.outcomes import Booleans, Floats, Outcomes
from evaluation.records import Record, draft_of, earlier_kept_in, samples_in
from routing import Policy, PolicyError, policy_from_document, signals_of
from routing.signals import with_past


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """What a policy says of each record, shape (n,): NaN is no signal, a bar of 1 no promise."""

    policy: Policy
    confidence: Floats
    merit: Floats
    bar: Floats

    @property
    def straight(self) -> Booleans:
        """Which go to the teacher without a draft."""
        return np.asarray(self.bar < self.policy.threshold.value)

    @property
    def kept(self) -> Booleans:
        """Which drafts are served."""
        said = np.nan_to_num(self.merit, nan=-1.0)
        return np.asarray(~self.straight & (said >= self.policy.threshold.value))

    def ranking(self, price: float) -> Ranking:
        """As a method: the order in which it escalates."""
        return Ranking(np.minimum(self.merit, self.bar), price, self.bar, self.confidence)

    def at_threshold(self, outcomes: Outcomes, price: float) -> dict[str, float | None]:
        """What the policy does as it is: shares of records, quality, and the share saved.

        ``of_teachers_quality`` is None where the teacher is never right.
        """
        threshold = self.policy.threshold.value
        straight = self.bar < threshold
        kept = self.kept
        weight = outcomes.weight / outcomes.weight.sum()
        served = np.where(kept, outcomes.student, outcomes.teacher)
        _, teacher = mean_quality(outcomes)
        quality = float(weight @ served)
        drafted, share = float(weight @ ~straight), float(weight @ kept)
        return {
            "threshold": self.policy.threshold.value,
            "kept_share": share,
            "straight_share": 1.0 - drafted,
            "quality": quality,
            "of_teachers_quality": quality / teacher if teacher else None,
            "saved": share - price * drafted,
        }


def policy_in(document: Any) -> Policy:
    """The policy of a parsed file, for whatever cascade and student it names.

    Raises EvaluationError where it is none.
    """
    if not isinstance(document, dict):
        raise EvaluationError("policy: must be an object")
    named = {key: str(document.get(key, "")) for key in ("cascade", "student_version")}
    try:
        return policy_from_document(document, version="evaluated", **named)
    except PolicyError as error:
        raise EvaluationError(f"policy: {error}") from None


def apply_policy(policy: Policy, records: Iterable[Record]) -> Applied:
    """Ask the policy about each record as the gateway would.

    Raises EvaluationError where a draft was chosen from another number than the policy is for.
    """
    found = np.array(list(_judged(policy, records)), dtype=np.float64).reshape(-1, 3)
    return Applied(policy, found[:, 0], found[:, 1], found[:, 2])


def _judged(policy: Policy, records: Iterable[Record]) -> Iterator[tuple[float, float, float]]:
    rule = policy.whole
    for record in records:
        if (samples := samples_in(record.student)) != policy.samples:
            raise EvaluationError(
                f"policy: it is for drafts chosen from {policy.samples}, the record {record.id!r} "
                f"has one of {samples}"
            )
        prompt = prompt_in(record)
        promised = policy.promised(prompt) if has_prompt(record) or prompt.group else None
        bar = policy.bar(promised)
        draft = draft_of(record.student)
        signals = with_past(signals_of(draft), earlier_kept_in(record.student))
        features = rule.features(signals, draft.text, prompt.group, promised)
        opinion = rule.opinion(features, prompt.group)
        said = (np.nan, np.nan)
        if opinion is not None and policy.is_evidence(signals):
            said = opinion.confidence.value, opinion.merit.value
        yield (*said, 1.0 if bar is None else bar.value)
