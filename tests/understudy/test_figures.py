from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from understudy.demo.asking import Reply, Served
from understudy.demo.calibrating import Calibration, Decided
from understudy.demo.evidence import Mark, Metrics, Pair
from understudy.demo.figures import (
    Run,
    Share,
    accuracy,
    bill,
    bill_before,
    drafts_of,
    has_succeeded,
    kept,
    kept_before,
    outcome,
    right_before,
    witnesses,
)
from understudy.demo.workload import generate

TASKS = generate(1, 4)
COST = Decimal("0.000000000001")


def served(number: int, by: str, degraded: str | None = None) -> Served:
    return Served(request_id=f"r{number}", by=by, cost_usd=COST, degraded=degraded)


def right(number: int, served_by: Served | None) -> Reply:
    task = TASKS[number]
    return Reply(task, task.expected, served=served_by, input_tokens=100, output_tokens=10)


KEPT = right(0, served(0, "student"))
ESCALATED = right(1, served(1, "teacher"))
DEGRADED = right(2, served(2, "student", "teacher_failed"))
FAILED = Reply(TASKS[3], error="no answer")

METRICS = Metrics(
    outcomes=Counter(kept=2, escalated=1, degraded=1),
    cost_usd=4 * COST,
    wasted_usd=COST,
    baseline_usd=9 * COST,
    pairs_written=1,
    pairs_shipped=1,
)
ALONE = [right(number, None) for number in range(4)]
RUN = Run(
    cascade=[KEPT, ESCALATED, DEGRADED, right(3, served(3, "student"))],
    student=ALONE,
    teacher=ALONE,
    metrics=METRICS,
    pairs=[Pair("r1", "a wrong draft")],
    before=Mark(5, "1-0"),
    after=Mark(6, "2-0"),
)


@pytest.mark.parametrize(
    ("reply", "name"),
    [(KEPT, "kept"), (ESCALATED, "escalated"), (DEGRADED, "degraded"), (FAILED, "failed")],
)
def test_each_reply_has_one_outcome(reply: Reply, name: str) -> None:
    assert outcome(reply) == name


def test_a_share_of_nothing_is_no_error() -> None:
    assert str(Share(0, 0)) == "0/0 (0.0%)"
    assert str(Share(1, 8)) == "1/8 (12.5%)"


def test_a_failed_request_counts_as_wrong() -> None:
    assert accuracy([KEPT, FAILED]) == Share(1, 2)
    assert accuracy([KEPT, FAILED], TASKS[3].family) == Share(0, 1)


def test_a_draft_is_what_the_student_wrote_also_where_the_teacher_answered() -> None:
    drafts = drafts_of([KEPT, ESCALATED, DEGRADED, FAILED], RUN.pairs)
    assert [draft.text for draft in drafts] == [KEPT.text, "a wrong draft", DEGRADED.text]


@pytest.mark.parametrize("pairs", [[], [Pair("r1", None)], [Pair("r9", "another's draft")]])
def test_a_draft_that_no_pair_tells_is_left_out(pairs: list[Pair]) -> None:
    assert drafts_of([ESCALATED], pairs) == []


def test_an_empty_draft_is_a_draft() -> None:
    assert [draft.text for draft in drafts_of([ESCALATED], [Pair("r1", "")])] == [""]


def test_a_bill_is_exact() -> None:
    price = {"input": "0.60", "output": "2.40"}
    assert bill([KEPT, ESCALATED], price) == Decimal("0.000168")


def test_a_bill_with_unknown_usage_is_unknown() -> None:
    assert bill([KEPT, FAILED]) is None


def test_a_run_in_which_all_agree_has_succeeded() -> None:
    assert all(figure.agree for figure in witnesses(RUN))
    assert has_succeeded(RUN)


def test_pairs_of_an_earlier_run_do_not_count() -> None:
    pairs = [Pair("earlier", "draft"), *RUN.pairs]
    assert has_succeeded(replace(RUN, pairs=pairs, after=Mark(7, "3-0")))


@pytest.mark.parametrize(
    "run",
    [
        replace(RUN, metrics=replace(METRICS, outcomes=Counter(kept=3, escalated=1, degraded=0))),
        replace(RUN, metrics=replace(METRICS, outcomes=METRICS.outcomes + Counter(failed=1))),
        replace(RUN, metrics=replace(METRICS, cost_usd=4 * COST + Decimal("1e-12"))),
        replace(RUN, metrics=replace(METRICS, pairs_written=2)),
        replace(RUN, pairs=[]),
        replace(RUN, after=RUN.before),
        replace(RUN, after=Mark(7, "3-0")),
        replace(RUN, teacher=[*ALONE[:3], FAILED]),
        replace(RUN, student=[*ALONE[:3], FAILED]),
    ],
)
def test_a_run_with_any_difference_or_failure_has_not_succeeded(run: Run) -> None:
    assert not has_succeeded(run)


def test_a_run_with_a_failed_request_has_not_succeeded_even_where_all_agree() -> None:
    metrics = replace(
        METRICS,
        outcomes=Counter(kept=1, escalated=1, degraded=1, failed=1),
        cost_usd=3 * COST,
    )
    run = replace(RUN, cascade=[KEPT, ESCALATED, DEGRADED, FAILED], metrics=metrics)
    assert all(figure.agree for figure in witnesses(run))
    assert not has_succeeded(run)


BEFORE = [
    Decided("date", is_kept=True, is_right=True, student_usd=1e-6),
    Decided("date", is_kept=True, is_right=False, student_usd=1e-6),
    Decided("order", is_kept=False, is_right=False, student_usd=1e-6),
    Decided("order", is_kept=False, is_right=True, student_usd=1e-6),
]


def test_before_calibration_a_deferred_draft_is_the_teachers_right_answer() -> None:
    assert kept_before(BEFORE) == Share(2, 4)
    assert right_before(BEFORE) == Share(3, 4)
    assert right_before(BEFORE, "date") == Share(1, 2)
    assert kept(RUN.cascade) == Share(2, 4)


def test_bill_before_is_that_of_as_many_requests_at_the_familys_prices() -> None:
    assert bill_before(RUN) is None
    run = replace(RUN, calibration=Calibration(None, BEFORE * 2, "refused"))
    orders = [reply for reply in run.teacher if reply.task.family == "order"]
    price = bill(orders)
    assert price is not None
    expected = 4 * Decimal("1e-6") + 2 * price / len(orders)
    assert bill_before(run) == pytest.approx(expected)
    silent = [replace(reply, output_tokens=None) for reply in run.teacher]
    assert bill_before(replace(run, teacher=silent)) is None
