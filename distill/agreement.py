"""How far a judge agrees: with itself when the answers change places, with another, with labels."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.rubric import Grade, Verdict


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two raters' labels, in [-1, 1]; 1 is perfect, 0 what chance gives.

    None without any pair, and where both always say the same one label: chance explains that all.
    Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    if not pairs:
        return None
    count = len(pairs)
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    # In whole numbers: floats would make of the last case a tiny number, and divide by it.
    expected = sum(left[label] * right[label] for label in left)
    if expected == count * count:
        return None
    agreed = sum(a == b for a, b in pairs)
    return (agreed * count - expected) / (count * count - expected)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What many grades show of their judge.

    ``consistency`` is the share of those asked in which both orders came to the same verdict;
    ``first_share`` how likely the judge finds the answer that it reads first better, of either;
    both None where nobody was asked.
    """

    grades: int
    asked: int
    consistency: float | None
    undecided: int
    first_share: float | None
    verdicts: Mapping[str, int]
    mean_score: float | None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "grades": self.grades,
            "asked": self.asked,
            "position_consistency": self.consistency,
            "undecided": self.undecided,
            "undecided_share": self.undecided / self.grades if self.grades else None,
            "first_share": self.first_share,
            "verdicts": dict(self.verdicts),
            "mean_score": self.mean_score,
        }


def agreement_of(grades: Iterable[Grade]) -> Agreement:
    """Sum up grades of one judge."""
    found = list(grades)
    asked = [grade for grade in found if grade.orders]
    undecided = sum(grade.verdict is Verdict.UNDECIDED for grade in asked)
    scores = [grade.score for grade in found if grade.score is not None]
    verdicts = Counter(grade.verdict.value for grade in found)
    return Agreement(
        grades=len(found),
        asked=len(asked),
        consistency=1.0 - undecided / len(asked) if asked else None,
        undecided=undecided,
        first_share=_first_share(asked),
        verdicts={verdict.value: verdicts[verdict.value] for verdict in Verdict},
        mean_score=math.fsum(scores) / len(scores) if scores else None,
    )


def _first_share(asked: Sequence[Grade]) -> float | None:
    first = either = 0.0
    for grade in asked:
        for order in grade.orders:
            first += order.draft if order.is_draft_first else order.answer
            either += order.draft + order.answer
    return first / either if either else None


def is_acceptable(verdict: Verdict) -> bool | None:
    """Whether the judge finds the draft no worse than the answer; None where it is undecided."""
    if verdict is Verdict.UNDECIDED:
        return None
    return verdict is not Verdict.ANSWER


def against_labels(verdicts: Iterable[tuple[Verdict, float]]) -> float | None:
    """Kappa against what a comparator or a checker says, ``ok`` in [0, 1]; decided ones count."""
    return kappa([
        (acceptable, ok >= 0.5)
        for verdict, ok in verdicts
        if (acceptable := is_acceptable(verdict)) is not None
    ])  # fmt: skip


def against_another(mine: Mapping[str, Verdict], others: Mapping[str, Verdict]) -> float | None:
    """Kappa of two judges' verdicts on what both have graded; undecided is a label like others."""
    return kappa([(mine[name], others[name]) for name in sorted(mine.keys() & others.keys())])
