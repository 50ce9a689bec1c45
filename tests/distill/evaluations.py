"""Evaluations as the gate reads them, with what a test wants to be otherwise."""

import hashlib
import json
from typing import Any

import msgspec

from distill.evaluation_file import (
    Alone,
    AloneCompared,
    Cascade,
    CascadeCompared,
    EqualQuality,
    Estimate,
    Evaluation,
    Group,
    Measured,
    Teacher,
)
from routing.rollout_file import policy_version
from tests.distill.contestants import policy

POLICY = json.dumps(policy("s-g1", 0.9)).encode()
INCUMBENTS_POLICY = json.dumps(policy("s-g0", 0.9)).encode()
MADE_AT = "2026-11-30T12:00:00+00:00"


def estimate(middle: float = 0.0, reach: float = 0.01) -> Estimate:
    return Estimate(estimate=middle, low=middle - reach, high=middle + reach)


def cascade(quality: float = 0.99, cost: float = 0.001) -> Cascade:
    return Cascade(
        quality=quality,
        kept_share=0.6,
        escalation_rate=0.4,
        straight_share=0.0,
        cost_per_request=cost,
    )


def group(
    records: int, difference: Estimate, worth: float | None = None, smaller: Any = None
) -> Group:
    """``smaller`` is the worth of it and all smaller ones, and the difference over these."""
    of_all, over_all = smaller or (float(records), difference)
    return Group(
        records=records,
        worth=float(records) if worth is None else worth,
        candidate=0.98,
        incumbent=0.98,
        difference=difference,
        alone=difference,
        worth_with_smaller=of_all,
        with_smaller=over_all,
    )


def measured(version: str, content: bytes = POLICY) -> Measured:
    digest = hashlib.sha256(content).hexdigest()
    return Measured(
        version=version,
        records_sha256="0" * 64,
        policy_sha256=digest,
        policy_version=digest[:12],
        generation_policy=policy_version(json.loads(content)),
        threshold=0.9,
        is_fitted_here=False,
    )


def evaluation(**changes: Any) -> Evaluation:
    """One that the gate lets in; ``bill`` and ``difference`` are the cascades'."""
    alone = Alone(quality=0.9, ece=0.02, auroc=0.9)
    compared = CascadeCompared(
        candidate=cascade(),
        incumbent=cascade(cost=0.002),
        difference=changes.pop("difference", estimate()),
        bill=changes.pop("bill", estimate(-0.5, 0.1)),
        bill_at_equal_quality=EqualQuality(
            target=0.99, candidate=0.001, incumbent=0.002, bill=estimate(-0.5, 0.1)
        ),
    )
    made = Evaluation(
        schema_version=1,
        made_at=MADE_AT,
        confidence=0.95,
        rounds=2000,
        seed=0,
        unit="usd",
        records=1000,
        questions=1000,
        worth=1000.0,
        candidate=measured("s-g1"),
        incumbent=measured("s-g0", INCUMBENTS_POLICY),
        teacher=Teacher(quality=1.0, cost_per_request=0.003, assumed=0),
        groups={},
        alone=AloneCompared(candidate=alone, incumbent=alone, difference=estimate()),
        cascade=compared,
        forgetting=None,
        notes=(),
    )
    return msgspec.structs.replace(made, **changes)
