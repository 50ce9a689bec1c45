"""On which terms drafts are learnt from, and what the teacher's word on them says."""

from dataclasses import replace

import pytest

from routing.auditing import Known, Terms, loss_of, terms_of
from routing.steering import KEEP_NOTHING, Standing

STANDING = Standing(revision=3, epoch=2, threshold=0.7, audit=0.04, complete=0.01)


def test_without_a_controller_the_operators_share_holds() -> None:
    assert terms_of(None, 0.02, 0.25, 0.05) == Terms(0.02, 0.25, 0.05)
    assert terms_of(None, 0.0, 0.25, 0.05) is None


def test_a_controller_has_the_word_where_it_wants_audits() -> None:
    assert terms_of(STANDING, 0.02, 0.0, 0.05) == Terms(0.04, 0.0, 0.05, STANDING)
    indifferent = replace(STANDING, audit=0.0)
    assert terms_of(indifferent, 0.02, 0.0, 0.0) == Terms(0.02, 0.0, 0.02, indifferent)
    assert terms_of(indifferent, 0.0, 0.0, 0.0) == Terms(0.0, 0.0, 0.01, indifferent)


def test_while_nothing_is_to_be_kept_all_that_is_kept_is_audited() -> None:
    holding = replace(STANDING, threshold=KEEP_NOTHING)
    terms = terms_of(holding, 0.02, 0.0, 0.05)
    assert terms == Terms(1.0, 0.0, 1.0, holding)
    assert terms.least == holding.least == 1.0
    silent = replace(holding, audit=0.0)
    assert terms_of(silent, 0.0, 0.0, 0.05) == Terms(0.0, 0.0, 0.05, silent)


def test_a_draft_that_is_given_up_is_finished_at_least_as_often_as_a_kept_one_is_audited() -> None:
    terms = terms_of(STANDING, 0.02, 0.0, 0.0)
    assert terms is not None
    assert terms.propensity(Known.COMPLETED) == terms.propensity(Known.AUDITED) == terms.least
    wanted = terms_of(replace(STANDING, complete=0.5), 0.02, 0.0, 0.0)
    assert wanted is not None
    assert wanted.propensity(Known.COMPLETED) == 0.5
    assert wanted.least == 0.04


@pytest.mark.parametrize(
    ("known", "may_audit", "propensity"),
    [
        (Known.AUDITED, True, 0.28),  # held out with 1/4; of the rest 4% are audited
        (Known.HELD_OUT, True, 0.28),
        (Known.HELD_OUT, False, 0.25),
        (Known.ESCALATED, True, 1.0),
        (Known.ESCALATED, False, 1.0),
        (Known.OWED, True, 1.0),
        (Known.COMPLETED, True, 0.5),
        (Known.COMPLETED, False, 0.5),
    ],
)
def test_the_probability_with_which_a_loss_was_to_be_known(
    known: Known, may_audit: bool, propensity: float
) -> None:
    terms = Terms(0.04, 0.25, 0.5, STANDING)
    assert terms.propensity(known, may_audit=may_audit) == pytest.approx(propensity)
    grade = terms.grade(known, 1.0, 0.75, may_audit=may_audit, conversation="c")
    assert grade is not None
    assert grade.propensity == pytest.approx(propensity)
    assert grade.least == min(grade.propensity, terms.least)
    assert grade.is_kept is (known in ("audited", "held_out"))
    assert (grade.merit, grade.loss, grade.epoch, grade.conversation) == (0.75, 1.0, 2, "c")


def test_a_draft_that_was_kept_for_its_form_alone_has_all_merit() -> None:
    grade = Terms(0.04, 0.0, 0.5, STANDING).grade(Known.AUDITED, 0.0, None)
    assert grade is not None
    assert grade.merit == 1.0


def test_nothing_is_graded_without_a_controller_or_where_no_kept_draft_ever_is() -> None:
    assert Terms(0.04, 0.0, 0.5).grade(Known.AUDITED, 0.0, 0.9) is None
    assert Terms(0.0, 0.0, 0.5, STANDING).grade(Known.ESCALATED, 0.0, 0.9) is None
    assert Terms(0.04, 0.0, 0.5, STANDING).grade(Known.HELD_OUT, 0.0, 0.9, may_audit=False) is None


def test_the_loss_is_whether_answers_differ_materially() -> None:
    assert loss_of(0.8, at_least=0.8) == 0.0
    assert loss_of(0.79, at_least=0.8) == 1.0
    assert loss_of(None, at_least=0.0) == 1.0
