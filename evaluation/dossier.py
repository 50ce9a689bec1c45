"""What a policy file tells of the evidence behind it: for people, and for ``understudy explain``.

Everything here is an estimate on the records that the threshold was chosen on, and stands beside
the promise.  Nothing here decides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.bounds import Certified, Refused, observed
from evaluation.features import Names
from evaluation.outcomes import Floats, Outcomes
from evaluation.reliability import reliability
from evaluation.source import Source
from evaluation.streams import Prefixes
from evaluation.targets import Kind, Plan, Target, Test

CURVE_POINTS = 51
MOST_GROUPS = 64
WATCHED_REQUESTS = 1000
# Of windows of so many requests one in a hundred leaves the range without any change.
_QUANTILE = 2.58

_PROMISES = {
    Kind.DISAGREEMENT: "of the drafts that are kept, at most {share} are not acceptable",
    Kind.QUALITY: "the mean quality of what is served is at least {value:g} times the teacher's",
    Kind.ESCALATION_RATE: "at most {share} of the requests are deferred",
}
_TESTS = {
    Test.BINOMIAL: "each threshold tested by an exact binomial test",
    Test.BETTING: "each threshold tested by betting against the mean excess loss",
}
THEOREM = (
    "Learn then Test with fixed-sequence testing (Angelopoulos, Bates, Candes, Jordan and Lei "
    "2021, arXiv:2110.01052): thresholds and their order were fixed on other records, {test}, "
    "strict to permissive, and the last one is taken before the first that fails.  It does not "
    "need the risk to fall as the threshold rises."
)
ORDER_STATISTIC = (
    "A distribution-free tolerance limit (Wilks 1941): the threshold is an order statistic of the "
    "merits of the calibration records, exact for any distribution, ties included."
)
ASSUMPTIONS = (
    "The records are independent draws from the requests to come, weighted as they were drawn.",
    "Their labels are what the comparator would say.",
    "The threshold was asked for once: trying other seeds or targets until one passes breaks it.",
    "Student, sampling, prompts, comparator and teacher stay as they were for the records.",
)
REFIT = (
    "Fit again when the student's weights, quantisation or engine change (the gateway refuses the "
    "policy then), when the teacher, the comparator, the sampling or the prompts change, and when "
    "audits find more disagreement among kept drafts than was promised."
)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The calibration half as numbers, each of shape (n,), and how it came about."""

    outcomes: Outcomes
    merit: Floats
    confidence: Floats
    groups: Names
    fitted_on: int
    price_ratio: float
    seed: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Findings:
    """What was certified, which candidate was taken for the rule and how all of them did."""

    whole: Certified
    streamed: Certified | Refused | None
    chosen: str
    areas: Mapping[str, float]
    notes: tuple[str, ...]


def evidence(material: Material, found: Findings) -> dict[str, object]:
    """The evidence as plain JSON."""
    whole = found.whole
    kept = np.nan_to_num(material.merit, nan=-1.0) >= whole.threshold
    return {
        "promise": promise(whole.target),
        "theorem": theorem(whole.target, material.outcomes, material.plan),
        "assumptions": list(ASSUMPTIONS),
        "fitted_on": material.fitted_on,
        "certified_on": whole.n,
        "kept": whole.kept,
        "kept_share": whole.kept_share,
        "observed": whole.observed,
        "disagreement_among_kept": observed(material.outcomes, kept, Kind.DISAGREEMENT),
        "quality": _qualities(material.outcomes, kept),
        "price_ratio": material.price_ratio,
        "seed": material.seed,
        "rule": found.chosen,
        "candidates": {name: float(value) for name, value in found.areas.items()},
        "curve": curve(material.outcomes, material.merit),
        "reliability": _bins(material),
        "groups": groups(material, kept),
        "streamed": _of_streams(found.streamed),
        "refit": REFIT,
        "kept_share_watched": watched(whole.kept_share, whole.n),
        "notes": list(found.notes),
    }


def promise(target: Target) -> str:
    """What is promised, in words."""
    words = _PROMISES[target.kind].format(value=target.value, share=f"{100 * target.value:g}%")
    chance = f"{100 * target.with_probability:g}%"
    return f"With probability at least {chance} over the draw of the calibration records, {words}."


def theorem(target: Target, outcomes: Outcomes, plan: Plan) -> str:
    """Which theorem the promise rests on."""
    if target.kind is Kind.ESCALATION_RATE and outcomes.has_equal_weights:
        return ORDER_STATISTIC
    return THEOREM.format(test=_TESTS[plan.test])


def curve(outcomes: Outcomes, merit: Floats, points: int = CURVE_POINTS) -> dict[str, list[float]]:
    """Thresholds from strict to permissive with what these records show at each."""
    said = merit[~np.isnan(merit)]
    found: dict[str, list[float]] = {
        name: [] for name in ("threshold", "kept_share", "quality", "disagreement")
    }
    if not said.size:
        return found
    shares = np.linspace(0.0, 1.0, points)
    levels = np.unique(np.quantile(said, 1.0 - shares, method="inverted_cdf"))[::-1]
    for level in levels:
        kept = np.nan_to_num(merit, nan=-1.0) >= level
        found["threshold"].append(float(level))
        found["kept_share"].append(float(np.average(kept, weights=outcomes.weight)))
        found["quality"].append(observed(outcomes, kept, Kind.QUALITY))
        found["disagreement"].append(observed(outcomes, kept, Kind.DISAGREEMENT))
    return found


def groups(material: Material, kept: np.ndarray) -> list[dict[str, object]]:
    """What each group shows at the threshold; there is no promise for one alone."""
    names, counts = np.unique(material.groups.astype(str), return_counts=True)
    if len(names) < 2:
        return []
    order = np.argsort(-counts, kind="stable")[:MOST_GROUPS]
    found: list[dict[str, object]] = []
    for place in sorted(order):
        chosen = material.groups.astype(str) == names[place]
        outcomes = material.outcomes.take(chosen)
        stated = material.confidence[chosen]
        heard = ~np.isnan(stated)
        found.append(
            {
                "group": str(names[place]),
                "n": int(counts[place]),
                "kept_share": float(np.average(kept[chosen], weights=outcomes.weight)),
                "disagreement": observed(outcomes, kept[chosen], Kind.DISAGREEMENT),
                "acceptable": float(np.average(outcomes.student, weights=outcomes.weight)),
                "confidence": float(stated[heard].mean()) if heard.any() else None,
            }
        )
    return found


def watched(kept_share: float, n: int) -> dict[str, float]:
    """Where the kept share of so many requests lies while the traffic is that of the records."""
    spread = _QUANTILE * math.sqrt(
        kept_share * (1.0 - kept_share) * (1.0 / n + 1.0 / WATCHED_REQUESTS)
    )
    return {
        "requests": WATCHED_REQUESTS,
        "low": max(0.0, kept_share - spread),
        "high": min(1.0, kept_share + spread),
    }


def notes(
    source: Source,
    hold_tokens: int,
    streamed: Certified | Refused | None,
    prefixes: Prefixes | None,
) -> tuple[str, ...]:
    """What a reader should know besides: everything that was left out or taken for granted."""
    found = []
    if source.unseen:
        names = ", ".join(name.split(":", 1)[-1] for name in source.unseen)
        found.append(f"Left out, as no gateway sees it: {names}.")
    if not source.samplings:
        found.append(
            "No record says how its draft was sampled: the policy is bound to no sampling."
        )
    elif source.untold:
        found.append(f"{source.untold:,} records do not say how their draft was sampled.")
    if source.assumed:
        found.append(
            f"In {source.assumed:,} records nobody asked the teacher, which is taken to be right: "
            "the promise is about right answers and not about the teacher."
        )
    if (floor := _floor(source)) is not None:
        found.append(
            f"The teacher disagrees with itself on {100 * floor:.1f}% of the questions that it was "
            "asked twice: no student can promise less."
        )
    if 1 not in source.samples:
        found.append(
            "Streams: drafts are compared once all are whole, so that a client that streams gets "
            "the whole draft, judged as any other."
        )
    elif prefixes is None:
        found.append(
            "Streams: no token log-probabilities, or those of too few records, so that the default "
            "rules, which nobody has calibrated, judge them."
        )
    elif isinstance(streamed, Refused):
        found.append(f"Streams are judged by the uncalibrated default rules: {streamed}.")
    else:
        found.append(
            f"Streams: the promise is for the release at {hold_tokens} tokens, or at the end of a "
            "shorter draft.  Tool calls, JSON that is held to its end, a window that ends by its "
            "time, and early_abort are not covered."
        )
        short = [str(tokens) for tokens, is_cut in prefixes.is_cut.items() if is_cut]
        if short:
            found.append(
                f"Few drafts reach {', '.join(short)} tokens: the rules there were fitted on all "
                "drafts, cut to that length."
            )
    return tuple(found)


def _floor(source: Source) -> float | None:
    asked = ~np.isnan(source.table.agrees)
    if not asked.any():
        return None
    weight = source.table.outcomes.weight[asked]
    return float(np.average(1.0 - source.table.agrees[asked], weights=weight))


def _qualities(outcomes: Outcomes, kept: np.ndarray) -> dict[str, float]:
    weight = outcomes.weight
    served = np.where(kept, outcomes.student, outcomes.teacher)
    return {
        "student": float(np.average(outcomes.student, weights=weight)),
        "teacher": float(np.average(outcomes.teacher, weights=weight)),
        "served": float(np.average(served, weights=weight)),
    }


def _bins(material: Material) -> list[dict[str, float | None]]:
    return [
        {
            "low": each.low,
            "high": each.high,
            "share": each.share,
            "confidence": each.confidence,
            "acceptable": each.acceptable,
        }
        for each in reliability(material.outcomes, material.confidence)
    ]


def _of_streams(found: Certified | Refused | None) -> dict[str, object] | None:
    if found is None:
        return None
    if isinstance(found, Refused):
        return {"is_certified": False, "why": str(found)}
    return {
        "is_certified": True,
        "threshold": found.threshold,
        "kept": found.kept,
        "kept_share": found.kept_share,
        "observed": found.observed,
    }
