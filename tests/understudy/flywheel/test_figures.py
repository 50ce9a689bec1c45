from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from tests.understudy.flywheel.making import cascade, first, good_run, result, turn
from understudy.demo.asking import Reply, Served
from understudy.demo.flywheel.figures import (
    Fate,
    Result,
    Tally,
    all_of,
    checks,
    learnable,
    of_cascade,
    of_one_model,
    unlearnable,
)
from understudy.demo.services import STUDENT_PRICE
from understudy.demo.workload import Task, generate

FALLS, ACCURATE, CHEAPER, UNLEARNT, ANSWERED = range(5)

TASK: Task = generate(1, 1)[0]


def holding(run: Result) -> list[bool]:
    return [check.holds for check in checks(run)]


def reply(by: str, cost: str | None = "0.000002", **more: object) -> Reply:
    served = Served("r1", by, None if cost is None else Decimal(cost), None)
    made = Reply(TASK, text=TASK.expected, served=served, input_tokens=50, output_tokens=10)
    return replace(made, **more)  # type: ignore[arg-type]  # each test says what differs


def test_a_good_run_has_all_that_it_has_to_show() -> None:
    assert holding(good_run()) == [True] * 5


@pytest.mark.parametrize(("escalated", "holds"), [(18, True), (19, False)])
def test_escalations_have_to_fall_by_five_times(escalated: int, holds: bool) -> None:
    run = result([first(), turn(1, 40), turn(2, escalated)])
    assert holding(run)[FALLS] is holds


def test_a_last_generation_that_escalates_nothing_is_no_division_by_zero() -> None:
    assert holding(result([first(), turn(1, 0)]))[FALLS]


def test_escalations_cannot_fall_where_there_were_none() -> None:
    assert not holding(result([turn(0, 0), turn(1, 0)]))[FALLS]


@pytest.mark.parametrize(("right", "holds"), [(89, True), (88, False)])
def test_every_generation_is_as_accurate_as_promised(right: int, holds: bool) -> None:
    run = result([first(), turn(1, 40, right=right), turn(2, 9)])
    assert holding(run)[ACCURATE] is holds


def test_a_generation_let_in_has_to_cost_less_than_the_one_before_it() -> None:
    assert not holding(result([first(), turn(1, 30), turn(2, 30)]))[CHEAPER]
    assert holding(result([first(), turn(1, 30), turn(2, 29)]))[CHEAPER]


def test_a_refused_generation_needs_a_reason_and_no_lower_cost() -> None:
    refused = replace(turn(2, 30), fate=Fate.REFUSED, why="the bill is not lower")
    assert holding(result([first(), turn(1, 30), refused]))[CHEAPER]
    silent = replace(refused, why="")
    assert not holding(result([first(), turn(1, 30), silent]))[CHEAPER]


def test_the_one_after_a_refused_generation_is_compared_with_the_one_that_served() -> None:
    refused = replace(turn(2, 5), fate=Fate.ROLLED_BACK, why="it disagreed")
    assert holding(result([first(), turn(1, 30), refused, turn(3, 20)]))[CHEAPER]
    assert not holding(result([first(), turn(1, 30), refused, turn(3, 30)]))[CHEAPER]


def test_products_have_to_stay_escalated_in_every_generation() -> None:
    leaking = replace(turn(1, 30), cascade=cascade(30, products_escalated=9))
    assert not holding(result([first(), leaking, turn(2, 9)]))[UNLEARNT]


def test_one_live_request_without_an_answer_is_told() -> None:
    lost = replace(turn(1, 9), under_way=Tally(300, 299, 100, unanswered=1))
    found = checks(result([first(), lost]))[ANSWERED]
    assert not found.holds
    assert "1 of 600" in found.told


def test_families_are_told_apart_by_what_can_be_learnt() -> None:
    tallies = cascade(30, right=88, products_escalated=9)
    assert learnable(tallies) == tallies["date"]
    assert unlearnable(tallies) == tallies["product"]
    assert all_of(tallies) == Tally(100, 97, 39, 0, Decimal("0.00156"))
    assert all_of(tallies).usd_per_request == Decimal("0.0000156")


def test_what_clients_got_is_counted_from_the_gateways_own_word() -> None:
    replies = [reply("student"), reply("teacher", "0.00004"), reply("student", text="no")]
    found = of_cascade(replies)
    assert found == {TASK.family: Tally(3, 2, 1, 0, Decimal("0.000044"))}


@pytest.mark.parametrize(
    "fault",
    [
        reply("student", error="gone"),
        reply("student", cost=None),
        reply("student", served=None),
        reply("student", served=Served("r1", "student", Decimal(0), "teacher_failed")),
    ],
)
def test_what_failed_is_degraded_or_of_unknown_cost_is_no_answer(fault: Reply) -> None:
    assert all_of(of_cascade([fault])).unanswered == 1


def test_a_model_alone_is_billed_by_its_own_usage_to_the_last_digit() -> None:
    found = of_one_model([reply("student"), reply("student")], STUDENT_PRICE)
    assert found[TASK.family] == Tally(2, 2, 0, 0, Decimal("0.0000032"))
    unknown = of_one_model([reply("student", input_tokens=None)], STUDENT_PRICE)
    assert unknown[TASK.family].unanswered == 1


def test_a_result_is_read_back_as_it_was_written() -> None:
    run = good_run()
    assert msgspec.json.decode(msgspec.json.encode(run), type=Result) == run
