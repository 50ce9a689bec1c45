from datetime import datetime

import msgspec
import pytest

from distill.comparison_report import money, page, verdict
from distill.evaluation_file import Forgetting, ForgottenGroup
from distill.gate import Check, Proposal, check
from tests.distill.evaluations import MADE_AT, POLICY, estimate, evaluation, group


def told(**changes: object) -> str:
    made = evaluation(**changes)
    checks = check(made, Proposal("s-g1", POLICY, "s-g0"), datetime.fromisoformat(MADE_AT))
    return page(made, checks)


def test_the_page_has_the_verdict_the_figures_and_the_pictures() -> None:
    said = told(groups={"a|b": group(400, estimate())})
    assert "**The gate will let the candidate in: every check is passed.**" in said
    assert "| cascade: USD per request | $0.001 | $0.002 | -50.0 [-60.0, -40.0] % |" in said
    assert r"| a\|b | 400 | 0.980 | 0.980 | +0.000 [-0.010, +0.010] |" in said
    assert "![Quality against cost](curves.png)" in said
    assert "- Candidate: `s-g1`, policy `" in said


def test_a_refusal_names_what_was_refused() -> None:
    said = told(bill=estimate(0.1), notes=("Something to know.",))
    assert "**The gate will refuse the candidate: bill.**" in said
    assert "| bill | **refused** |" in said
    assert "- Something to know." in said
    assert verdict([Check("a", False, ""), Check("b", False, "")]).endswith("candidate: a, b.")


def test_what_was_forgotten_is_told_by_group() -> None:
    found = Forgetting(
        records=500,
        held=100,
        worth=100.0,
        broken=estimate(0.02),
        draft_lost=estimate(0.1),
        groups={"old": ForgottenGroup(held=40, broken=0.05)},
    )
    said = told(forgetting=found)
    assert "| old | 40 | 5.0% |" in said
    assert "deferred ones included: +10.0 [+9.0, +11.0] %." in said


def test_policies_that_were_fitted_here_and_none_at_all_are_told() -> None:
    made = evaluation()
    fitted = msgspec.structs.replace(made.candidate, is_fitted_here=True)
    nobody = msgspec.structs.replace(made.incumbent, policy_sha256=None, policy_version=None)
    said = told(candidate=fitted, incumbent=nobody)
    assert "fitted on the other half of the records" in said
    assert "no policy: the teacher alone" in said


def test_what_is_undefined_is_a_dash() -> None:
    made = evaluation(bill=None)
    alone = msgspec.structs.replace(made.alone.candidate, ece=None, auroc=None)
    said = told(bill=None, alone=msgspec.structs.replace(made.alone, candidate=alone))
    assert "| student alone: ECE | - | 0.020 |" in said
    assert "| $0.002 | - |" in said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.00123, "usd", "$0.00123"), (0.1, "teacher_answers", "0.100"), (None, "usd", "-")],
)
def test_money_is_told_in_its_unit(value: float | None, unit: str, said: str) -> None:
    assert money(value, unit) == said
