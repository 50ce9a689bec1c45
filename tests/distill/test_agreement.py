import pytest

from distill.agreement import (
    against_another,
    against_labels,
    agreement_of,
    is_acceptable,
    kappa,
)
from distill.rubric import SETTLED, Grade, Order, Verdict

UNDECIDED = Grade(
    Verdict.UNDECIDED, None, (Order(0.9, 0.1, 0.0, True), Order(0.1, 0.9, 0.0, False))
)
BETTER = Grade(Verdict.DRAFT, 0.8, (Order(0.8, 0.2, 0.0, True), Order(0.8, 0.2, 0.0, False)))


def test_kappa_of_a_known_table() -> None:
    # Cohen's first example: 20 both yes, 5 and 10 apart, 15 both no.
    table = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(table) == pytest.approx(0.4)


def test_kappa_at_its_ends() -> None:
    assert kappa([("a", "a"), ("b", "b")]) == 1.0
    assert kappa([("a", "b"), ("b", "a")]) == -1.0
    assert kappa([]) is None
    assert kappa([("a", "a")] * 3) is None


def test_a_judge_that_always_prefers_the_first_is_consistent_with_nothing() -> None:
    told = agreement_of([UNDECIDED] * 4)
    assert (told.consistency, told.undecided, told.mean_score) == (0.0, 4, None)
    assert told.first_share == pytest.approx(0.9)
    assert told.document()["undecided_share"] == 1.0


def test_what_nobody_was_asked_about_is_no_consistency() -> None:
    told = agreement_of([SETTLED])
    assert (told.grades, told.asked, told.consistency, told.first_share) == (1, 0, None, None)
    assert told.mean_score == 0.5
    assert agreement_of([]).document()["undecided_share"] is None


def test_consistency_counts_those_that_were_asked_about() -> None:
    told = agreement_of([BETTER, UNDECIDED, SETTLED, BETTER])
    assert told.consistency == pytest.approx(2 / 3)
    assert told.verdicts == {"draft": 2, "answer": 0, "equal": 1, "undecided": 1}
    assert told.mean_score == pytest.approx((0.8 + 0.8 + 0.5) / 3)


def test_a_draft_that_is_no_worse_is_acceptable() -> None:
    found = {verdict: is_acceptable(verdict) for verdict in Verdict}
    assert found == {
        Verdict.DRAFT: True,
        Verdict.EQUAL: True,
        Verdict.ANSWER: False,
        Verdict.UNDECIDED: None,
    }


def test_labels_are_compared_with_what_was_decided() -> None:
    verdicts = [(Verdict.EQUAL, 1.0), (Verdict.ANSWER, 0.0), (Verdict.UNDECIDED, 1.0)]
    assert against_labels(verdicts) == 1.0
    assert against_labels([(Verdict.EQUAL, 0.5), (Verdict.ANSWER, 0.4)]) == 1.0


def test_judges_are_compared_on_what_both_graded() -> None:
    mine = {"a": Verdict.DRAFT, "b": Verdict.ANSWER, "c": Verdict.EQUAL}
    others = {"a": Verdict.DRAFT, "b": Verdict.ANSWER, "d": Verdict.EQUAL}
    assert against_another(mine, others) == 1.0
