"""What the calls of a request were paid for: served, wasted, retry or shadow."""

from typing import Any

import pytest

from gateway.facts import ABORTED, CANCELLED, SPARE, Ending, Leg, RequestSettled
from routing.money import Usage
from routing.vocabulary import Handover, Kind, Reason, Role

FAILED = "upstream_unavailable"
STUDENT, TEACHER = Role.STUDENT, Role.TEACHER
SERVED, WASTED, RETRY, SHADOW = Kind.SERVED, Kind.WASTED, Kind.RETRY, Kind.SHADOW


def kinds(
    *calls: tuple[Role, str | None], started: tuple[float, ...] = (), **of: Any
) -> list[Kind]:
    times = started or tuple(map(float, range(len(calls))))
    legs = [
        Leg(role, Usage(1, 1), 7, 0.5, error, started=time)
        for (role, error), time in zip(calls, times, strict=True)
    ]
    values: dict[str, object] = {"request_id": "r", "ending": Ending.KEPT, "status": 200}
    fact = RequestSettled(seconds=1.0, legs=legs, **(values | of))  # type: ignore[arg-type]
    assert [entry.cost_pico for entry in fact.entries] == [7] * len(legs)
    return [entry.kind for entry in fact.entries]


def test_a_failed_call_that_another_replaced_is_a_retry() -> None:
    by: dict[str, Any] = {"served_by": TEACHER, "reason": Reason.STUDENT_FAILED}
    assert kinds((STUDENT, FAILED), (TEACHER, None), **by) == [RETRY, SERVED]
    assert kinds((STUDENT, FAILED), (TEACHER, None), first_byte_seconds=0.1, **by) == [
        RETRY, SERVED,
    ]  # fmt: skip
    assert kinds((TEACHER, FAILED), (STUDENT, None), served_by=STUDENT) == [RETRY, SERVED]
    assert kinds((STUDENT, "upstream_refused"), (STUDENT, None), served_by=STUDENT) == [
        RETRY, SERVED,
    ]  # fmt: skip


def test_a_failed_call_that_nothing_followed_is_waste() -> None:
    assert kinds((STUDENT, None), (TEACHER, FAILED), served_by=STUDENT) == [SERVED, WASTED]
    assert kinds((STUDENT, FAILED), (TEACHER, FAILED)) == [RETRY, WASTED]
    assert kinds((STUDENT, FAILED)) == [WASTED]


@pytest.mark.parametrize("error", [None, ABORTED, CANCELLED, SPARE])
def test_what_did_not_fail_is_no_retry(error: str | None) -> None:
    assert kinds((STUDENT, error), (TEACHER, None), served_by=TEACHER) == [WASTED, SERVED]


def test_a_call_that_began_before_is_not_in_its_place() -> None:
    """The teacher was to take over and failed; the student was writing all the time."""
    of: dict[str, Any] = {
        "served_by": STUDENT,
        "handover": Handover.NEVER,
        "first_byte_seconds": 0.1,
    }
    found = kinds((TEACHER, FAILED), (STUDENT, None), started=(5.0, 1.0), **of)
    assert found == [WASTED, SERVED]


def test_drafts_beside_the_chosen_one_replace_nothing() -> None:
    assert kinds((STUDENT, FAILED), (STUDENT, SPARE), served_by=STUDENT) == [WASTED, WASTED]


def test_words_that_are_out_were_served_whoever_broke_off() -> None:
    half: dict[str, Any] = {"served_by": TEACHER, "first_byte_seconds": 0.1}
    continued = half | {"handover": Handover.CONTINUE}
    assert kinds((STUDENT, FAILED), (TEACHER, None), **continued) == [SERVED, SERVED]
    assert kinds((STUDENT, None), (TEACHER, FAILED), **continued) == [SERVED, SERVED]
    assert kinds((TEACHER, CANCELLED), **half) == [SERVED]


def test_of_a_teacher_that_failed_before_it_took_over_nothing_is_out() -> None:
    of: dict[str, Any] = {
        "served_by": TEACHER,
        "first_byte_seconds": 0.1,
        "handover": Handover.CONTINUE,
    }
    found = kinds((TEACHER, FAILED), (STUDENT, FAILED), (TEACHER, None), started=(2, 1, 3), **of)
    assert found == [RETRY, SERVED, SERVED]


def test_words_that_were_out_and_taken_back_are_waste() -> None:
    of: dict[str, Any] = {
        "served_by": TEACHER,
        "first_byte_seconds": 0.1,
        "handover": Handover.RESTART,
    }
    assert kinds((STUDENT, FAILED), (TEACHER, None), **of) == [WASTED, SERVED]
    assert kinds((STUDENT, ABORTED), (TEACHER, None), **of) == [WASTED, SERVED]


def test_drafts_of_held_out_requests_are_shadow() -> None:
    of: dict[str, Any] = {"reason": Reason.HOLDOUT}
    calls = ((STUDENT, None), (STUDENT, SPARE), (TEACHER, None))
    assert kinds(*calls, served_by=TEACHER, **of) == [SHADOW, SHADOW, SERVED]
    aborted = ((STUDENT, ABORTED), (TEACHER, CANCELLED))
    assert kinds(*aborted, served_by=None, **of) == [SHADOW, WASTED]


def test_a_held_out_draft_that_is_served_after_all_is_served() -> None:
    found = kinds((STUDENT, None), (TEACHER, FAILED), served_by=STUDENT, reason=Reason.HOLDOUT)
    assert found == [SERVED, WASTED]
