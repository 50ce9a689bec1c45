import pytest

from distill.causes import Cause
from distill.soundness import LEAST_TURNS, fault_of, is_looping
from tests.fakes.datasets import example, row

SENTENCE = "The same sentence is said here."


def fault(answer: str, *, is_as_asked: bool = True) -> Cause | None:
    return fault_of(example(row("a", "Why?", answer)), lambda _: is_as_asked)


@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_is_no_lesson(answer: str) -> None:
    assert fault(answer) is Cause.ANSWER_EMPTY


def test_an_answer_of_another_form_is_no_lesson() -> None:
    assert fault("Paris.") is None
    assert fault("Paris.", is_as_asked=False) is Cause.ANSWER_NOT_AS_ASKED


def test_a_loop_is_no_lesson() -> None:
    assert fault(" ".join(["Well.", *[SENTENCE] * LEAST_TURNS])) is Cause.ANSWER_REPEATS


def test_once_less_is_no_loop() -> None:
    assert fault(" ".join([SENTENCE] * (LEAST_TURNS - 1))) is None


@pytest.mark.parametrize(
    "text",
    [
        "0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
        "| --- | --- | --- | --- |",
        "-" * 500,
        "no no no no no no no",
    ],
)
def test_lists_of_zeros_and_ruled_lines_are_no_loops(text: str) -> None:
    assert not is_looping(text)


def test_calls_of_tools_are_an_answer() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}
    told = row("a", "Why?") | {
        "completion": [{"role": "assistant", "content": "", "tool_calls": [call]}]
    }
    assert fault_of(example(told), lambda _: True) is None
