from dataclasses import replace

import pytest

from gateway.upstream.probe import Continuation
from routing.vocabulary import Handover, Role
from understudy.doctor.calling import Called
from understudy.doctor.findings import Cause, Fault, Finding, State, Subject
from understudy.doctor.judging import findings_of, unreachable
from understudy.doctor.listing import Listing, Unlisted
from understudy.doctor.seen import Answered, Evidence, Part, Seen, Wanted

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
ALL_WELL = Seen(
    listing=Listing({"small": 2048, "large": 8192}),
    streamed=FULL,
    whole=FULL,
    is_cache_seen=True,
    called=Called(of_itself=True),
    continuation=Continuation(True, "it wrote ' 4'"),
)


def found(wanted: Wanted, seen: Seen, subject: str) -> Finding:
    (finding,) = [each for each in findings_of(wanted, seen) if each.subject == subject]
    assert bool(finding.advice) is (finding.state not in (State.OK, State.SKIPPED))
    return finding


def streamed(**changes: object) -> Seen:
    return replace(ALL_WELL, streamed=replace(FULL, **changes))  # type: ignore[arg-type]


def listed(*names: str) -> Seen:
    return replace(ALL_WELL, listing=Listing(dict.fromkeys(names)))


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
    finding = found(STUDENT, listed("a", "b"), "server")
    assert finding.state is State.PROBLEM
    assert finding.saw == "has no small, but a, b"
    assert "nothing" in found(STUDENT, listed(), "server").saw


def test_a_server_that_lists_nothing_and_answers_will_do() -> None:
    seen = replace(ALL_WELL, listing=Unlisted("lists no models"))
    assert found(STUDENT, seen, "server").state is State.OK
    seen = replace(seen, streamed=Fault("status 404"))
    assert found(STUDENT, seen, "server").state is State.PROBLEM


def test_what_a_stream_would_have_told_is_left_out_where_there_is_none() -> None:
    seen = replace(ALL_WELL, streamed=Fault("refused"), continuation=None)
    assert found(STUDENT, seen, "streams").state is State.PROBLEM
    subjects = [finding.subject for finding in findings_of(STUDENT, seen)]
    assert subjects == ["server", "context length", "streams", "whole answers", "tool calls"]
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
    seen = replace(ALL_WELL, whole=Fault("no answer within 30 s", cause=Cause.AWAY))
    assert found(wanted, seen, "whole answers").state is State.AWAY


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


@pytest.mark.parametrize(
    ("is_seen", "is_priced", "state"),
    [
        (True, True, State.OK),
        (False, False, State.HINT),
        (False, True, State.PROBLEM),  # the bill is not what the prices say
        (None, True, State.AWAY),
    ],
)
def test_cached_tokens_that_nobody_reports_matter_where_they_have_a_price(
    *, is_seen: bool | None, is_priced: bool, state: State
) -> None:
    seen = replace(ALL_WELL, is_cache_seen=is_seen)
    wanted = replace(STUDENT, is_cache_priced=is_priced)
    assert found(wanted, seen, "cached prompt tokens").state is state


@pytest.mark.parametrize(
    ("handover", "continuation", "state"),
    [
        (Handover.CONTINUE, Continuation(True, "' 4'"), State.OK),
        (Handover.CONTINUE, Continuation(False, "'1, 2'"), State.PROBLEM),
        (Handover.CONTINUE, Continuation(None, "no answer"), State.AWAY),
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


@pytest.mark.parametrize(
    ("called", "state", "words"),
    [
        (Called(of_itself=True), State.OK, "own accord"),
        (Called(of_itself=False, when_it_must=True), State.OK, "where it must"),
        (Called(of_itself=False, when_it_must=True, is_text=True), State.PROBLEM, "as text"),
        (Called(of_itself=False, when_it_must=False), State.PROBLEM, "wrote text where"),
        (Called(of_itself=False, when_it_must=False, is_cut=True), State.HINT, "too long"),
        (Fault("requires --x", cause=Cause.REFUSED), State.PROBLEM, "refused: requires --x"),
        (Fault("status 503", cause=Cause.AWAY), State.AWAY, "status 503"),
    ],
)
def test_a_tool_call_must_come_as_one(called: Called | Fault, state: State, words: str) -> None:
    finding = found(STUDENT, replace(ALL_WELL, called=called), "tool calls")
    assert finding.state is state
    assert words in finding.saw


def test_tools_that_nobody_is_said_to_do_are_no_problem() -> None:
    seen = replace(ALL_WELL, called=None)
    assert found(replace(STUDENT, has_tools=False), seen, "tool calls").state is State.SKIPPED
    seen = replace(ALL_WELL, called=Fault("requires --x", cause=Cause.REFUSED))
    assert found(TEACHER, seen, "tool calls").state is State.PROBLEM
    assert found(replace(TEACHER, has_tools=False), seen, "tool calls").state is State.HINT


def test_what_had_to_be_left_out_is_what_is_to_be_mended() -> None:
    seen = replace(ALL_WELL, left_out=frozenset({Part.EVIDENCE}), refusal="at most 1")
    finding = found(STUDENT, seen, "log-probabilities in streams")
    assert (finding.state, finding.saw) == (State.PROBLEM, "refused: at most 1")
    assert found(STUDENT, seen, "whole answers").state is State.OK
    seen = replace(ALL_WELL, left_out=frozenset({Part.RUNNING_USAGE}), refusal="what is that?")
    assert found(STUDENT, seen, "usage of streams").state is State.PROBLEM


@pytest.mark.parametrize(
    ("wanted", "unlisted", "words"),
    [
        (STUDENT, Unlisted("lists no models"), "/v1"),
        (STUDENT, Unlisted("lists no models", is_about_key=True), "wants a key"),
        (replace(STUDENT, has_key=True), Unlisted("lists no models", is_about_key=True), "its own"),
    ],
)
def test_a_door_that_is_closed_is_about_its_key_or_its_address(
    wanted: Wanted, unlisted: Unlisted, words: str
) -> None:
    seen = replace(ALL_WELL, listing=unlisted, streamed=Fault("status 401"))
    (finding,) = findings_of(wanted, seen)
    assert words in finding.advice
    assert finding.saw == "lists no models; asked for it: status 401"


def test_a_server_that_is_away_is_no_problem_to_mend() -> None:
    away = Fault("no answer within 30 s", cause=Cause.AWAY)
    states = {one.subject: one.state for one in findings_of(STUDENT, Seen(Unlisted("?"), away))}
    assert states[Subject.SERVER] is State.AWAY
    assert State.PROBLEM not in states.values()


def test_the_context_is_told_where_the_server_tells_it() -> None:
    assert found(STUDENT, ALL_WELL, "context length").saw == "2048 tokens"
    assert found(STUDENT, listed("small"), "context length").state is State.SKIPPED
