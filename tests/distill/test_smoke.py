from typing import Any

import msgspec
import pytest

from distill.smoke import (
    Example,
    Said,
    Tolerance,
    confidence_in,
    difference,
    examples_of,
    most_differing,
)
from evaluation.records import Record
from routing.policy import Policy
from routing.policy_file import policy_from_document
from routing.vocabulary import Draft
from tests.distill.made_generations import policy

POLICY: Policy = policy_from_document(
    policy("small-g1"), version="p", cascade="assistant", student_version="small-g1"
)
TOLERANCE = Tolerance(confidence=0.05, differing=0.125)


def record(name: str = "q1", text: str = "Paris.", logprob: float = -0.1, **changes: Any) -> Record:
    student = {
        "ok": True,
        "text": text,
        "token_logprobs": [logprob, logprob],
        "top_logprobs": [[logprob, -4.0], [logprob, -4.0]],
        "finish_reason": "stop",
    } | changes.pop("student", {})
    asked = {"messages": [{"role": "user", "content": "Capital?"}], "temperature": 0}
    document = {"id": name, "request": asked, "student": student, "teacher": {"ok": True}}
    return msgspec.convert(document | changes, Record)


def example(**changes: Any) -> Example:
    found = record(**changes)
    return Example(found, found.request)


def said(text: str = "Paris.", logprob: float = -0.1) -> Said:
    draft = Draft(
        token_logprobs=(logprob, logprob),
        best_logprobs=(logprob, logprob),
        second_logprobs=(-4.0, -4.0),
        text=text,
        finish_reason="stop",
    )
    return Said(text, draft)


def told(one: Example, answer: Said) -> str:
    found = difference(one, answer, POLICY, TOLERANCE)
    assert found is not None
    return found


def test_the_same_words_with_the_same_confidence_are_no_difference() -> None:
    assert difference(example(), said(), POLICY, TOLERANCE) is None
    assert difference(example(), said(" Paris.\n", logprob=-0.1005), POLICY, TOLERANCE) is None


def test_other_words_are_shown_with_those_that_were_recorded() -> None:
    assert told(example(), said("Lyon.")) == "q1: 'Lyon.' in place of 'Paris.'"
    assert "…" in told(example(), said("x" * 500))


def test_the_same_words_said_with_another_confidence_differ() -> None:
    """Another generation often knows the same answer, and is not as sure of it."""
    answer = said(logprob=-0.3)
    before = confidence_in(said().draft, record(), POLICY)
    after = confidence_in(answer.draft, record(), POLICY)
    assert before is not None
    assert after is not None
    assert told(example(), answer) == (f"q1: a confidence of {after:.3f} in place of {before:.3f}")


def test_a_confidence_may_be_off_by_as_much_as_is_said() -> None:
    before = confidence_in(said().draft, record(), POLICY)
    after = confidence_in(said(logprob=-0.15).draft, record(), POLICY)
    assert before is not None
    assert after is not None
    off = before - after
    answer = said(logprob=-0.15)
    assert difference(example(), answer, POLICY, Tolerance(off + 1e-9)) is None
    assert difference(example(), answer, POLICY, Tolerance(off - 1e-9)) is not None


def test_a_server_without_log_probabilities_differs_always() -> None:
    silent = Said("Paris.", Draft(text="Paris."))
    assert "no log-probabilities" in told(example(), silent)


def test_words_that_are_drawn_need_not_come_again_but_must_be_judged() -> None:
    drawn = example(student={"sampling": {"temperature": 0.7}})
    assert difference(drawn, said("Lyon.", logprob=-2.0), POLICY, TOLERANCE) is None
    silent = Said("Lyon.", Draft(text="Lyon."))
    assert difference(drawn, silent, POLICY, TOLERANCE) is not None


def test_recorded_words_that_cannot_be_judged_differ() -> None:
    unknown = example(student={"token_logprobs": [None, None]})
    assert told(unknown, said()).endswith("in place of none")


def test_examples_are_taken_evenly_from_those_that_can_be_asked_again() -> None:
    records = [record(str(number)) for number in range(20)]
    records[0] = record("no request", request=None)
    records[1] = record("no text", student={"text": None})
    records[2] = record("no evidence", student={"token_logprobs": None, "top_logprobs": None})
    assert [one.record.id for one in examples_of(records, 4)] == ["3", "7", "11", "15"]
    assert len(examples_of(records, 100)) == 17
    assert examples_of(records[:3], 4) == []


@pytest.mark.parametrize(("count", "most"), [(7, 0), (8, 1), (16, 2)])
def test_a_share_of_the_examples_may_differ(count: int, most: int) -> None:
    assert most_differing(count, TOLERANCE) == most


def test_a_policy_that_reads_groups_and_prompts_is_asked_with_them() -> None:
    by_group = {"capitals": {"kind": "logistic", "slope": 8, "intercept": -9}}
    document = policy("small-g1")
    document["rule"] = document["rule"] | {"by_group": by_group}
    grouped = policy_from_document(
        document, version="p", cascade="assistant", student_version="small-g1"
    )
    plain = confidence_in(said().draft, record(), grouped)
    known = confidence_in(said().draft, replaced(record(), "capitals"), grouped)
    assert plain is not None
    assert known is not None
    assert known < plain


def test_a_policy_that_reads_earlier_turns_is_asked_with_them() -> None:
    document = policy("small-g1")
    score = {"signals": ["mean_probability", "earlier_kept"], "weights": [0.5, 0.5]}
    document["rule"]["score"] = score | {"intercept": 0.0}
    reading = policy_from_document(
        document, version="p", cascade="assistant", student_version="small-g1"
    )
    assert confidence_in(said().draft, record(), reading) is None
    known = record(student={"signals": {"earlier_kept": 0.75}})
    assert confidence_in(said().draft, known, reading) is not None


def replaced(found: Record, group: str) -> Record:
    return msgspec.structs.replace(found, group=group)
