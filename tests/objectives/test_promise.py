"""A promise of quality as its operator sees it: three gateways, a real store, scripted models.

What is claimed is read from ``/metrics`` and the log alone.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakes.serving import TEACHER_PRICE
from tests.objectives.fleet import KEEPS_NOTHING, Answer, Fleet, fleet

HOLD_AT_MOST = 2_000
# So much, and so sure, that seconds of traffic prove it.
PROMISE = {
    "objective": {
        "kind": "quality",
        "disagreement_at_most": 0.2,
        "with_probability": 0.9,
        "hold_at_most": HOLD_AT_MOST,
    },
    "audit": {"share": 0.5},
}
GATHERED = 1_000  # merits that the levels are made from, where they are so few kinds
PROVEN = 90  # grades that prove it of a student that is always right where it is sure
TAKEN_OVER_SECONDS = 5.0
LOST_SECONDS = 2.0  # a round, and what a busy machine takes for one
AUDIT_USD = (100 * TEACHER_PRICE["input"] + 10 * TEACHER_PRICE["output"]) / 1e6


@pytest.fixture
def promised(tmp_path: Path) -> Iterator[Fleet]:
    """Replicas that know which levels there are, and nothing of any."""
    with fleet(tmp_path, PROMISE) as running:
        answers = running.ask(GATHERED)
        running.wait_for_state("holding")
        assert by_teacher(answers) == GATHERED
        yield running


def by_teacher(answers: Sequence[Answer]) -> int:
    return sum(each.served_by == "teacher" for each in answers)


def audited(fleet: Fleet) -> int:
    """Audits that are over, of all replicas, the dead ones too."""
    return int(sum(each.total("audits_total") for each in fleet.replicas))


def wait_for_grades(promised: Fleet, escalated: int) -> None:
    """Every replica shows as many grades as escalations and audits together, neither more nor less.

    ``escalated`` are those since the levels were made.
    """
    promised.wait(lambda: not any(each.metric("audits_open") for each in promised.alive))
    promised.wait(
        lambda: (
            {each.metric("objective_grades") for each in promised.alive}
            == {escalated + audited(promised)}
        )
    )


def release(promised: Fleet) -> None:
    """Enough traffic for the promise to be kept to."""
    assert by_teacher(promised.ask(PROVEN)) == PROVEN
    promised.wait_for_state("released")


@pytest.mark.full
def test_a_promise_is_earned_kept_to_and_given_up_when_the_student_gets_worse(
    promised: Fleet,
) -> None:
    release(promised)
    (threshold,) = {each.metric("threshold") for each in promised.replicas}
    assert 0 < threshold <= 1
    assert GATHERED + PROVEN <= HOLD_AT_MOST
    wait_for_grades(promised, PROVEN)

    answers = promised.ask(80)
    assert by_teacher(answers) == len(answers) / 4, "what the student is sure of is kept"
    escalated = PROVEN + by_teacher(answers)
    wait_for_grades(promised, escalated)
    audits = audited(promised)
    assert 10 < audits < 60, "three quarters are kept, and half of all are to be audited"
    billed = sum(each.total("cost_usd_total", "teacher", "audit") for each in promised.replicas)
    assert billed == pytest.approx(audits * AUDIT_USD)

    promised.wait_for_controller().kill()
    promised.wait_for_controller(TAKEN_OVER_SECONDS)
    escalated += by_teacher(promised.ask(40))
    wait_for_grades(promised, escalated)  # nothing is lost, or counted twice

    promised.student.is_worse = True
    promised.ask(120)
    promised.wait_for_all("objective_alarms", 1)
    promised.wait_for_all("threshold", KEEPS_NOTHING)
    for each in promised.alive:
        each.process.wait_for_line("regression")
    answers = promised.ask(20)
    assert by_teacher(answers) == len(answers)


@pytest.mark.full
def test_a_controller_that_is_killed_under_load_loses_its_last_second_and_nothing_twice(
    promised: Fleet,
) -> None:
    release(promised)
    with promised.under_load() as answers:
        victim = promised.wait_for_controller()
        promised.wait(lambda: answers and answers[-1].at - answers[0].at > 2 * LOST_SECONDS)
        killed = time.monotonic()
        victim.kill()
        promised.wait_for_controller(TAKEN_OVER_SECONDS)
    taught = [each for each in answers if each.served_by == "teacher"]
    others = [each for each in taught if each.gateway != victim.name]
    owed = [each for each in taught if each.at < killed - LOST_SECONDS and each not in others]
    assert len(owed) > 20, "the load was too light to show anything"
    audits = sum(each.total("audits_total") for each in promised.alive)
    least = PROVEN + len(others) + len(owed) + audits
    promised.wait(lambda: not any(each.metric("audits_open") for each in promised.alive))
    promised.wait(lambda: promised.alive[0].metric("objective_grades") >= least)
    promised.wait_for_all("objective_reports_waiting", 0)
    # A request that the dead one answered is one grade at most, be it an escalation or an audit.
    answered = sum(each.gateway == victim.name and each.status == 200 for each in answers)
    most = PROVEN + len(others) + answered + audited(promised)
    assert promised.alive[0].metric("objective_grades") <= most


@pytest.mark.full
def test_while_the_store_is_away_the_standing_stays_and_reports_wait(promised: Fleet) -> None:
    release(promised)
    before = {each.metric("threshold") for each in promised.replicas}
    escalated = PROVEN
    promised.store.stop()
    promised.wait(
        lambda: all(each.metric("objective_reports_waiting") > 1 for each in promised.replicas)
    )
    answers = promised.ask(120)
    assert by_teacher(answers) == len(answers) / 4
    assert {each.metric("threshold") for each in promised.replicas} == before
    escalated += by_teacher(answers)
    promised.store.start()
    promised.wait_for_all("objective_reports_waiting", 0)
    wait_for_grades(promised, escalated)
    assert sum(each.total("objective_reports_lost_total") for each in promised.replicas) == 0


@pytest.mark.full
def test_while_the_teacher_is_away_what_it_should_answer_is_marked(promised: Fleet) -> None:
    release(promised)
    promised.teacher.is_away = True
    answers = promised.ask(80)
    kept = [each for each in answers if each.degraded is None]
    assert {each.served_by for each in answers} == {"student"}
    assert len(kept) == 60, "what the promise keeps is no less than it was"
    marked = sum(each.total("degraded_total") for each in promised.replicas)
    assert marked == len(answers) - len(kept)
    promised.teacher.is_away = False
    promised.wait(lambda: by_teacher(promised.ask(4)) == 1)
