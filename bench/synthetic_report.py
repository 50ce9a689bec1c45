"""What came of ``--scenario synthetic``: how right each student is, and how often it escalates."""

import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from bench.synthetic_data import SHARES
from evaluation.applied import apply_policy
from evaluation.records import read_records
from routing.policy import uncalibrated_default


class Arm(StrEnum):
    """Which rows a student learnt from beside the pairs that all have."""

    START = "start"
    TARGETED = "targeted"
    UNTARGETED = "untargeted"


class Family(msgspec.Struct, frozen=True):
    """How a student does on one kind of task: shares of its questions."""

    questions: int
    right: float
    escalated: float
    kept_right: float


class Measured(msgspec.Struct, frozen=True):
    """One student on the held-out questions.

    ``right`` and ``escalated`` are of the traffic, each kind counting by its share of that;
    ``right_alike`` counts all kinds alike.  What is escalated is what the uncalibrated default
    would; ``kept_right`` is how many of those that it keeps are right.
    """

    arm: Arm
    seed: int
    right: float
    right_alike: float
    escalated: float
    kept_right: float | None
    families: Mapping[str, Family]


class Difference(msgspec.Struct, frozen=True):
    """Targeted less untargeted, seed by seed: the mean and both ends."""

    mean: float
    least: float
    most: float


class SyntheticReport(msgspec.Struct, frozen=True):
    """All students, what was written, and the differences that count."""

    steps: int
    rows: int
    by_cluster: Mapping[str, Any]
    spent_usd: str
    students: Sequence[Measured]
    differences: Mapping[str, Difference]


def measured_in(arm: Arm, seed: int, path: Path) -> Measured:
    """Sum up a student's records."""
    records = list(read_records(path))
    kept = apply_policy(uncalibrated_default(), records).kept
    families = {}
    for name in SHARES:
        mine = [place for place, record in enumerate(records) if record.group == name]
        right = [bool(records[place].student.ok) for place in mine]
        is_kept = [bool(kept[place]) for place in mine]
        families[name] = Family(
            questions=len(mine),
            right=statistics.fmean(right),
            escalated=1.0 - statistics.fmean(is_kept),
            kept_right=sum(a and b for a, b in zip(right, is_kept, strict=True)) / len(mine),
        )
    escalated = _of_traffic(families, "escalated")
    both = _of_traffic(families, "kept_right")
    return Measured(
        arm=arm,
        seed=seed,
        right=_of_traffic(families, "right"),
        right_alike=statistics.fmean(each.right for each in families.values()),
        escalated=escalated,
        kept_right=both / (1.0 - escalated) if escalated < 1.0 else None,
        families=families,
    )


def _of_traffic(families: Mapping[str, Family], name: str) -> float:
    return sum(SHARES[kind] * float(getattr(each, name)) for kind, each in families.items())


def report_of(
    students: Sequence[Measured], written: Mapping[str, Any], *, steps: int
) -> SyntheticReport:
    """The report; ``written`` is that of ``distill synthesize``."""
    return SyntheticReport(
        steps=steps,
        rows=written["accepted"],
        by_cluster={each["name"]: each["accepted"] for each in written["by_cluster"].values()},
        spent_usd=written["spent_usd"],
        students=students,
        differences={
            name: _difference(students, name) for name in ("right", "right_alike", "escalated")
        },
    )


def _difference(students: Sequence[Measured], name: str) -> Difference:
    values = {(each.arm, each.seed): float(getattr(each, name)) for each in students}
    seeds = [seed for arm, seed in values if arm is Arm.TARGETED]
    gaps = [values[Arm.TARGETED, seed] - values[Arm.UNTARGETED, seed] for seed in seeds]
    return Difference(statistics.fmean(gaps), min(gaps), max(gaps))
