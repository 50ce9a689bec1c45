"""How grave a report is, what it says as JSON, and what it hides."""

import json

import pytest

from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.report import (
    CONFIG_EXIT_CODE,
    Bill,
    FailOn,
    Part,
    Report,
    Whose,
    invalid_document,
)

PROBLEM, AWAY, HINT = 1, 3, 4


def report(*states: State, saw: str = "seen", advice: str = "") -> Report:
    findings = [Finding(Subject.SERVER, state, saw, advice) for state in states]
    return Report(
        [Part(Whose.STUDENT, findings, "assistant", "small", "http://a")], Bill(0, 0, "0")
    )


@pytest.mark.parametrize(
    ("states", "fail_on", "code"),
    [
        ((), FailOn.HINT, 0),
        ((State.OK, State.SKIPPED), FailOn.HINT, 0),
        ((State.HINT,), FailOn.HINT, HINT),
        ((State.HINT,), FailOn.AWAY, 0),
        ((State.AWAY, State.HINT), FailOn.HINT, AWAY),
        ((State.AWAY, State.HINT), FailOn.AWAY, AWAY),
        ((State.AWAY, State.HINT), FailOn.PROBLEM, 0),
        ((State.PROBLEM, State.AWAY, State.HINT), FailOn.HINT, PROBLEM),
        ((State.PROBLEM, State.AWAY), FailOn.AWAY, PROBLEM),
        ((State.PROBLEM, State.AWAY), FailOn.PROBLEM, PROBLEM),
        ((State.PROBLEM,), FailOn.NEVER, 0),
    ],
)
def test_the_status_is_that_of_the_gravest_state_from_where_it_is_wanted(
    states: tuple[State, ...], fail_on: FailOn, code: int
) -> None:
    assert report(*states).exit_code(fail_on) == code


def test_states_are_counted_and_none_is_left_out() -> None:
    told = report(State.OK, State.OK, State.AWAY).document(AWAY)
    assert told["counts"] == {"ok": 2, "skipped": 0, "hint": 0, "away": 1, "problem": 0}
    assert (told["status"], told["exit_code"]) == ("away", AWAY)


def test_a_report_of_nothing_has_the_form_of_any_other() -> None:
    invalid = invalid_document("c.yaml: no")
    assert invalid.keys() == report().document(0).keys()
    assert (invalid["status"], invalid["exit_code"]) == ("invalid", CONFIG_EXIT_CODE)


def test_secrets_are_hidden_wherever_they_stand() -> None:
    secrets = ["sk-1", "sk-1-and-more", "abc"]
    hidden = report(State.PROBLEM, saw="got sk-1-and-more", advice="send sk-1, as in abcde")
    told = json.dumps(hidden.without(secrets).document(1))
    assert "got ***" in told
    assert "and-more" not in told
    assert "send ***, as in abcde" in told  # three letters are in words that are no secret
