from dataclasses import replace

import pytest

from gateway.upstream.probe import Continuation
from routing.vocabulary import Handover, Role
from understudy.doctor.findings import (
    Answered,
    Evidence,
    Fault,
    Finding,
    Seen,
    State,
    Unlisted,
    Wanted,
    findings_of,
    unreachable,
)

STUDENT = Wanted(Role.STUDENT, "small", has_running_usage=True, handover=Handover.CONTINUE)
TEACHER = Wanted(Role.TEACHER, "large", has_running_usage=False, handover=Handover.CONTINUE)
FULL = Answered(
    chunks=16,
    evidence=Evidence(tokens=16, with_logprob=16, fewest_candidates=2),
    has_reasoning=False,
    has_usage=True,
    has_running_usage=True,
    has_cached_tokens=True,
)
ALL_WELL = Seen(["small", "large"], FULL, FULL, Continuation(True, "it wrote ' 4'"))


def found(wanted: Wanted, seen: Seen, subject: str) -> Finding:
    (finding,) = [each for each in findings_of(wanted, seen) if each.subject == subject]
    assert bool(finding.advice) is (finding.state in (State.HINT, State.PROBLEM))
    return finding


def streamed(**changes: object) -> Seen:
    return replace(ALL_WELL, streamed=replace(FULL, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [STUDENT, TEACHER])
def test_where_all_is_well_nothing_is_advised(wanted: Wanted) -> None:
    findings = findings_of(wanted, ALL_WELL)
    assert {finding.state for finding in findings} == {State.OK}
    assert not any(finding.advice for finding in findings)


def test_only_students_are_asked_for_evidence_and_only_teachers_to_go_on() -> None:
    student = [finding.subject for finding in findings_of(STUDENT, ALL_WELL)]
    teacher = [finding.subject for finding in findings_of(TEACHER, ALL_WELL)]
    assert set(student) - set(teacher) == {"log-probabilities in streams"}
    assert set(teacher) - set(student) == {"continuation"}


def test_a_server_that_cannot_be_reached_is_a_problem() -> None:
    finding = unreachable(Fault("not reached: connection refused"))
    assert (finding.state, bool(finding.advice)) == (State.PROBLEM, True)


def test_a_server_without_the_model_is_a_problem_and_what_it_has_is_told() -> None:
    finding = found(STUDENT, replace(ALL_WELL, listing=["a", "b"]), "server")
    assert finding.state is State.PROBLEM
    assert finding.saw == "has no small, but a, b"
    assert "nothing" in found(STUDENT, replace(ALL_WELL, listing=[]), "server").saw


def test_a_server_that_lists_nothing_and_answers_will_do() -> None:
    seen = replace(ALL_WELL, listing=Unlisted("lists no models"))
    assert found(STUDENT, seen, "server").state is State.OK
    seen = replace(seen, streamed=Fault("status 404"))
    assert found(STUDENT, seen, "server").state is State.PROBLEM


def test_what_a_stream_would_have_told_is_left_out_where_there_is_none() -> None:
    seen = replace(ALL_WELL, streamed=Fault("refused"), continuation=None)
    assert found(STUDENT, seen, "streams").state is State.PROBLEM
    subjects = [finding.subject for finding in findings_of(STUDENT, seen)]
    assert subjects == ["server", "streams", "whole answers"]
    assert found(TEACHER, seen, "continuation").state is State.SKIPPED


def test_a_stream_in_one_piece_is_none_to_hold_or_abort() -> None:
    assert found(STUDENT, streamed(chunks=1), "streams").state is State.HINT
    assert found(STUDENT, streamed(chunks=2), "streams").state is State.OK
    assert "reasoning" in found(STUDENT, streamed(chunks=0, has_reasoning=True), "streams").saw


@pytest.mark.parametrize("wanted", [STUDENT, TEACHER])
def test_no_whole_answer_is_a_problem(wanted: Wanted) -> None:
    seen = replace(ALL_WELL, whole=Fault("broken off"))
    finding = found(wanted, seen, "whole answers")
    assert (finding.state, finding.saw) == (State.PROBLEM, "broken off")


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Evidence(16, 16, 2), State.OK),
        (Evidence(16, 16, 1), State.PROBLEM),  # the default rule has no lead to read
        (Evidence(16, 15, 2), State.PROBLEM),
        (Evidence(16, 0, 0), State.PROBLEM),
        (Evidence(0, 0, 0), State.PROBLEM),
    ],
)
def test_a_student_without_log_probabilities_is_a_problem(evidence: Evidence, state: State) -> None:
    for subject, seen in (
        ("log-probabilities in streams", streamed(evidence=evidence)),
        ("whole answers", replace(ALL_WELL, whole=replace(FULL, evidence=evidence))),
    ):
        assert found(STUDENT, seen, subject).state is state
    assert found(TEACHER, seen, "whole answers").state is State.OK


def test_a_student_that_reasons_first_is_not_blamed() -> None:
    seen = streamed(evidence=Evidence(0, 0, 0), has_reasoning=True)
    assert found(STUDENT, seen, "log-probabilities in streams").state is State.HINT


@pytest.mark.parametrize(
    ("is_wanted", "running", "final", "state"),
    [
        (True, True, True, State.OK),
        (False, True, True, State.OK),
        (True, False, True, State.PROBLEM),  # the configuration says what is not so
        (False, False, True, State.OK),
        (True, False, False, State.PROBLEM),
        (False, False, False, State.PROBLEM),
    ],
)
def test_usage_is_held_against_what_the_configuration_says(
    *, is_wanted: bool, running: bool, final: bool, state: State
) -> None:
    seen = streamed(has_running_usage=running, has_usage=final)
    wanted = replace(STUDENT, has_running_usage=is_wanted)
    assert found(wanted, seen, "usage of streams").state is state


def test_cached_tokens_that_nobody_reports_are_a_hint() -> None:
    silent = replace(FULL, has_cached_tokens=False)
    subject = "cached prompt tokens"
    for streamed_one, whole_one, state in (
        (silent, silent, State.HINT),
        (silent, FULL, State.OK),
        (FULL, silent, State.OK),
        (silent, Fault("broken off"), State.HINT),
    ):
        seen = replace(ALL_WELL, streamed=streamed_one, whole=whole_one)
        assert found(STUDENT, seen, subject).state is state


@pytest.mark.parametrize(
    ("handover", "continuation", "state"),
    [
        (Handover.CONTINUE, Continuation(True, "' 4'"), State.OK),
        (Handover.CONTINUE, Continuation(False, "'1, 2'"), State.PROBLEM),
        (Handover.CONTINUE, Continuation(None, "no answer"), State.PROBLEM),
        (Handover.NEVER, None, State.SKIPPED),
        (Handover.RESTART, None, State.SKIPPED),
    ],
)
def test_continuation_is_asked_where_it_is_wanted(
    handover: Handover, continuation: Continuation | None, state: State
) -> None:
    seen = replace(ALL_WELL, continuation=continuation)
    finding = found(replace(TEACHER, handover=handover), seen, "continuation")
    assert finding.state is state
    if continuation is None:
        assert finding.saw == f"not needed: handover is {handover}"


@pytest.mark.parametrize(
    ("drafts", "state"),
    [(3, State.OK), (1, State.PROBLEM), (4, State.PROBLEM), (Fault("refused"), State.PROBLEM)],
)
def test_a_server_writes_as_many_drafts_as_it_is_asked_for(
    drafts: int | Fault, state: State
) -> None:
    seen = replace(ALL_WELL, drafts=drafts)
    assert found(replace(STUDENT, samples=3), seen, "drafts of one answer").state is state
