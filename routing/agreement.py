"""How far several drafts of one answer agree, and which of them speaks for most.

For free-form reasoning the probability of the last words says little; whether the student comes to
the same result again says much (Wang et al. 2023, "Self-Consistency Improves Chain of Thought
Reasoning in Language Models", arXiv:2203.11171).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from routing.comparators import Comparator, Question, Score


@dataclass(frozen=True, slots=True)
class Agreement:
    """Which draft the largest part of all agrees with, and how large that part is.

    ``majority`` is a place in the sequence of drafts; ``share`` lies in (0, 1], and is None for a
    single draft, which can only agree with itself: that is no evidence.
    """

    majority: int
    share: float | None


def agreement_of(question: Question, drafts: Sequence[str], comparator: Comparator) -> Agreement:
    """Count for each draft, at least one, how many say the same, itself included.

    The draft with the most wins, among equals the first.  Where sameness goes from draft to draft
    (as equality does) these are the sizes of clusters; where it does not (a tolerance, a share of
    fields) nothing depends on the order in which clusters would have been formed.

    ``comparator`` must ask nobody.  Raises ValueError where it does, or where there is no draft.
    """
    if not drafts:
        raise ValueError("no draft can agree with none")
    supporters = [1] * len(drafts)
    for place, draft in enumerate(drafts):
        for other in range(place + 1, len(drafts)):
            score = comparator.begin(question, draft, drafts[other])
            if not isinstance(score, Score):
                raise ValueError(f"{comparator.version} has to ask before it can compare drafts")
            if score.is_same(comparator.at_least):
                supporters[place] += 1
                supporters[other] += 1
    most = max(supporters)
    share = most / len(drafts) if len(drafts) > 1 else None
    return Agreement(supporters.index(most), share)
