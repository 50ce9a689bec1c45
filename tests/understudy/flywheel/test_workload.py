from itertools import islice

import pytest

from understudy.demo.flywheel.workload import FORGOTTEN_AFTER, Workload
from understudy.demo.workload import Task, solve


def questions(tasks: list[Task]) -> set[str]:
    return {task.messages[-1]["content"] for task in tasks}


def some_traffic(workload: Workload, name: str, count: int = 400) -> list[Task]:
    return list(islice(workload.traffic(name), count))


def test_the_same_seed_draws_the_same_questions_and_another_seed_others() -> None:
    first, again, other = Workload(3, 80, 120), Workload(3, 80, 120), Workload(4, 80, 120)
    assert first.held_out == again.held_out
    assert first.calibration == again.calibration
    assert some_traffic(first, "g0") == some_traffic(again, "g0")
    assert first.held_out != other.held_out


def test_what_is_measured_depends_on_no_other_setting() -> None:
    assert Workload(1, 80, 20).held_out == Workload(1, 80, 300).held_out
    assert Workload(1, 80, 20).held_out == Workload(1, 200, 20).held_out[:80]


@pytest.mark.parametrize("seed", range(5))
def test_no_question_that_is_measured_or_calibrated_on_is_in_traffic(seed: int) -> None:
    workload = Workload(seed, 200, 300)
    held_out, calibration = questions(workload.held_out), questions(workload.calibration)
    assert len(held_out) == 200
    assert len(calibration) == 300
    assert not held_out & calibration
    for name in ("g0", "g1"):
        traffic = questions(some_traffic(workload, name, FORGOTTEN_AFTER + 200))
        assert not traffic & (held_out | calibration)


def test_each_name_has_its_own_traffic_without_end_and_without_two_of_one_id() -> None:
    workload = Workload(1, 200, 300)
    first, second = some_traffic(workload, "g0", 2500), some_traffic(workload, "g1", 2500)
    assert len({task.id for task in (*first, *second)}) == 5000
    assert questions(first[:200]) != questions(second[:200])
    assert len(questions(first[:FORGOTTEN_AFTER])) == FORGOTTEN_AFTER


def test_a_tenth_of_all_sets_cannot_be_learnt_and_the_rest_is_shared_evenly() -> None:
    workload = Workload(1, 200, 300)
    for tasks in (workload.held_out, workload.calibration, some_traffic(workload, "g0", 200)):
        families = [task.family for task in tasks]
        assert families.count("product") * 10 == len(tasks)
        for name in ("date", "order", "number", "name"):
            assert abs(families.count(name) - 0.225 * len(tasks)) < 1


def test_questions_come_without_examples_and_the_teacher_solves_every_one() -> None:
    for task in some_traffic(Workload(1, 10, 10), "g0"):
        assert len(task.messages) == 1
        answer = solve(task.messages)
        assert answer is not None
        assert task.is_solved_by(answer)
