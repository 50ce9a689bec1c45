"""A request is called too long only where that is sure, or as good as sure."""

import pytest

from routing.habits import Asked, Habits, Ratio
from routing.room import LEAST_LEARNT_TOKENS, MOST_BYTES_PER_TOKEN, Room, is_too_long, of_all

VLLM, LLAMA = Room(2048, is_answer_counted=True), Room(2048, is_answer_counted=False)


def habits(tokens: int = 100_000, of: int = 400_000) -> Habits:
    return Habits(read=Ratio(tokens, of))


def test_of_a_server_that_does_not_say_nothing_is_too_long() -> None:
    assert not is_too_long(None, Asked(10**9, 10**9), habits())


@pytest.mark.parametrize(
    ("most_tokens", "expected"), [(2047, False), (2048, True), (10**6, True), (None, False)]
)
def test_an_answer_that_leaves_no_room_for_a_prompt_is_too_long(
    most_tokens: int | None, *, expected: bool
) -> None:
    assert is_too_long(VLLM, Asked(100, most_tokens), Habits()) is expected


def test_a_server_that_cuts_answers_short_refuses_none_for_them() -> None:
    assert not is_too_long(LLAMA, Asked(100, 10**6), habits())


# Four bytes a token, and the margin makes eight.
@pytest.mark.parametrize(("size", "expected"), [(8 * 2048, False), (8 * 2048 + 2, True)])
def test_a_prompt_has_to_be_twice_as_long_as_expected(size: int, *, expected: bool) -> None:
    assert is_too_long(LLAMA, Asked(size), habits()) is expected


def test_the_answer_takes_of_the_room() -> None:
    asked = Asked(8 * 1024 + 2, 1024)
    assert is_too_long(VLLM, asked, habits())
    assert not is_too_long(LLAMA, asked, habits())
    assert not is_too_long(VLLM, Asked(8 * 1024 + 2, 1023), habits())


def test_no_habit_makes_many_tokens_of_few_bytes() -> None:
    """Where all that came before was digits, prose is still read as prose."""
    digits = habits(tokens=100_000, of=100_000)
    assert not is_too_long(LLAMA, Asked(MOST_BYTES_PER_TOKEN * 2048), digits)
    assert is_too_long(LLAMA, Asked(MOST_BYTES_PER_TOKEN * 2048 + 1), digits)


@pytest.mark.parametrize(("tokens", "expected"), [(LEAST_LEARNT_TOKENS - 1, False), (10_000, True)])
def test_little_experience_is_none(tokens: int, *, expected: bool) -> None:
    assert is_too_long(LLAMA, Asked(10**6), habits(tokens, 4 * tokens)) is expected


def test_the_most_roomy_of_several_servers_counts() -> None:
    assert of_all([VLLM, Room(4096, is_answer_counted=True)]) == Room(4096, is_answer_counted=True)
    assert of_all([VLLM, LLAMA]) == LLAMA
    assert of_all([VLLM, None]) is None
    assert of_all([]) is None
