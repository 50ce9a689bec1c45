"""The figures of an evaluation: every method's measures with intervals, as one document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.bootstrap import DEFAULT_ROUNDS, Resampled, bootstrap
from evaluation.curves import (
    MEASURES,
    Ranking,
    always_student,
    always_teacher,
    curve_of,
    mean_quality,
    measure,
)
from evaluation.methods import BEST_SIGNAL, LEARNT, LEARNT_PRE, PRE_GENERATION, SIGNAL_PREFIX
from evaluation.outcomes import Floats, Outcomes
from evaluation.reliability import reliability

ALWAYS_STUDENT, ALWAYS_TEACHER = "always_student", "always_teacher"
PGR_AT = (0.1, 0.2, 0.3, 0.5)
CURVE_POINTS = 101
DIFFERENCES = (
    (LEARNT, BEST_SIGNAL),
    (LEARNT_PRE, BEST_SIGNAL),
    (LEARNT_PRE, LEARNT),
    (LEARNT, PRE_GENERATION),
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """``document`` is what --json prints; ``resampled`` holds the bands around the curves."""

    document: Document
    resampled: Resampled


def report(
    outcomes: Outcomes,
    rankings: Mapping[str, Ranking],
    student_price: float,
    *,
    rounds: int = DEFAULT_ROUNDS,
    seed: int = 0,
) -> Report:
    """Measure every method on the same records and the same resamples of them."""
    resampled = _resampled(outcomes, rankings, rounds, seed)
    student, teacher = mean_quality(outcomes)
    methods: dict[str, Document] = {
        ALWAYS_STUDENT: dict(always_student(outcomes, student_price)),
        ALWAYS_TEACHER: dict(always_teacher(outcomes)),
    }
    for name, ranking in rankings.items():
        found: Document = dict(measure(outcomes, ranking))
        found |= _recovered(outcomes, ranking)
        found["intervals"] = {each: _ends(resampled, name, each) for each in MEASURES}
        methods[name] = found
    document: Document = {
        "records": outcomes.n,
        "student_quality": student,
        "teacher_quality": teacher,
        "methods": methods,
        "differences": _differences(rankings, methods, resampled),
        "warnings": warnings(outcomes),
    }
    return Report(document, resampled)


def _resampled(
    outcomes: Outcomes, rankings: Mapping[str, Ranking], rounds: int, seed: int
) -> Resampled:
    """The bootstrap; methods that say the same of every record share one column of it.

    Where answers are one token, many signals are the same number.
    """
    first: dict[tuple[object, ...], str] = {}
    alike = {name: first.setdefault(_said(each), name) for name, each in rankings.items()}
    found = bootstrap(
        outcomes,
        {name: rankings[name] for name in first.values()},
        rounds=rounds,
        seed=seed,
        points=CURVE_POINTS,
    )
    return Resampled(
        samples={name: found.samples[other] for name, other in alike.items()},
        shares=found.shares,
        quality={name: found.quality[other] for name, other in alike.items()},
    )


def _said(ranking: Ranking) -> tuple[object, ...]:
    arrays = ranking.confidence, ranking.bar, ranking.stated
    parts = (None if each is None else np.asarray(each).tobytes() for each in arrays)
    return (*parts, ranking.student_price)


def warnings(outcomes: Outcomes) -> list[str]:
    """What makes measures undefined, in words."""
    student, teacher = mean_quality(outcomes)
    found = []
    if teacher <= student:
        found.append(
            f"the teacher ({teacher:.3f}) is not better than the student ({student:.3f}): there is "
            "no gap to recover, so that APGR and CPT are undefined"
        )
    if np.ptp(outcomes.student) == 0.0:
        found.append("all drafts are equally good: AUROC is undefined and nothing can be learnt")
    return found


def curves_document(
    report: Report, outcomes: Outcomes, rankings: Mapping[str, Ranking]
) -> Document:
    """The points of every curve with its band, at equal shares."""
    shares = report.resampled.shares
    return {
        "share_escalated": shares.tolist(),
        "methods": {
            name: {
                "quality": curve_of(outcomes, ranking.confidence).at(shares)[0].tolist(),
                "low": low.tolist(),
                "high": high.tolist(),
            }
            for name, ranking in rankings.items()
            for low, high in [report.resampled.band(name)]
        },
    }


def reliability_document(outcomes: Outcomes, rankings: Mapping[str, Ranking]) -> Document:
    """The bins of every method that states a probability."""
    found = {}
    for name, ranking in rankings.items():
        stated = ranking.confidence if ranking.stated is None else ranking.stated
        if bins := reliability_bins(outcomes, stated):
            found[name] = bins
    return found


def reliability_bins(outcomes: Outcomes, stated: npt.ArrayLike) -> list[Document]:
    """The bins of one stated probability, ready for JSON; [] where it is none."""
    return [
        {
            "low": each.low,
            "high": each.high,
            "share": each.share,
            "confidence": each.confidence,
            "acceptable": each.acceptable,
        }
        for each in reliability(outcomes, stated)
    ]


def shown(methods: Mapping[str, Any], *, every_signal: bool = True) -> list[str]:
    """Names of methods as a table lists them: baselines, signals from the best, learnt ones."""
    signals = [name for name in methods if name.startswith(SIGNAL_PREFIX)]
    signals.sort(key=lambda name: -(methods[name]["apgr"] or methods[name]["auroc"] or 0.0))
    first = [ALWAYS_STUDENT, ALWAYS_TEACHER, "random", "mean_logprob"]
    last = [BEST_SIGNAL, PRE_GENERATION, LEARNT, LEARNT_PRE, "policy", "oracle"]
    order = [*first, *(signals if every_signal else []), *last]
    return [name for name in order if name in methods]


def _recovered(outcomes: Outcomes, ranking: Ranking) -> Document:
    """PGR at some shares; None where the teacher is no better."""
    curve = curve_of(outcomes, ranking.confidence)
    gap = float(curve.teacher[0] - curve.student[0])
    quality: Floats = curve.at(np.array(PGR_AT))[0]
    return {
        f"pgr{round(100 * share)}": float(each - curve.student[0]) / gap if gap > 0.0 else None
        for share, each in zip(PGR_AT, quality, strict=True)
    }


def _ends(resampled: Resampled, method: str, name: str) -> list[float] | None:
    interval = resampled.interval(method, name)
    return None if interval is None else [interval.low, interval.high]


def _differences(
    rankings: Mapping[str, Ranking], methods: Mapping[str, Document], resampled: Resampled
) -> Document:
    """Paired differences between methods, with intervals."""
    found: Document = {}
    for left, right in DIFFERENCES:
        if left not in rankings or right not in rankings:
            continue
        by_measure: Document = {}
        for name in MEASURES:
            one, other = methods[left][name], methods[right][name]
            interval = resampled.difference(left, right, name)
            by_measure[name] = (
                None
                if one is None or other is None
                else {
                    "difference": one - other,
                    "interval": None if interval is None else [interval.low, interval.high],
                }
            )
        found[f"{left} - {right}"] = by_measure
    return found
