from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.agreement import Agreement, agreement_of
from routing.comparators import (
    Closeness,
    Question,
    judged_by_teacher,
    normalised_text,
    same_label,
    same_number,
)

QUESTION = Question("How many apples?")


@pytest.mark.parametrize(
    ("drafts", "majority", "share"),
    [
        (["so 7"], 0, None),
        (["so 7", "7 apples"], 0, 1.0),
        (["8", "so 7", "7 apples"], 1, 2 / 3),
        (["8", "7", "6"], 0, 1 / 3),
        (["8", "7", "7.0", "8", "7"], 1, 3 / 5),
        (["8", "7", "7", "8"], 0, 1 / 2),
        (["none", "None.", "3"], 0, 2 / 3),
    ],
)
def test_the_draft_that_most_agree_with_speaks_for_them(
    drafts: list[str], majority: int, share: float | None
) -> None:
    assert agreement_of(QUESTION, drafts, same_number()) == Agreement(majority, share)


def test_sameness_that_does_not_go_on_makes_no_chain() -> None:
    near = same_number(Closeness(absolute=Fraction(1)))
    # 1 and 3 are both near 2, and not near each other: only 2 has all of them.
    assert agreement_of(QUESTION, ["1", "2", "3"], near) == Agreement(1, 1.0)
    assert agreement_of(QUESTION, ["1", "2", "3", "4"], near) == Agreement(1, 3 / 4)


def test_options_are_those_of_the_question() -> None:
    question = Question(choices=("Sadness", "Joy"))
    found = agreement_of(question, ["A", "Joy", "B"], same_label(["A", "B"]))
    assert found == Agreement(1, 2 / 3)


def test_a_comparator_that_asks_is_refused() -> None:
    with pytest.raises(ValueError, match="judge-1 has to ask"):
        agreement_of(QUESTION, ["a", "b"], judged_by_teacher())
    assert agreement_of(QUESTION, ["a", "A."], judged_by_teacher()) == Agreement(0, 1.0)


def test_nothing_agrees_with_nothing() -> None:
    with pytest.raises(ValueError, match="no draft"):
        agreement_of(QUESTION, [], normalised_text())


@given(drafts=st.lists(st.sampled_from("abc"), min_size=2, max_size=8))
def test_the_share_is_that_of_the_commonest_draft(drafts: list[str]) -> None:
    found = agreement_of(QUESTION, drafts, normalised_text())
    most = max(drafts.count(draft) for draft in drafts)
    assert found.share == most / len(drafts)
    assert drafts.count(drafts[found.majority]) == most
    assert agreement_of(QUESTION, drafts[::-1], normalised_text()).share == found.share
