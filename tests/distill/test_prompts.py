import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.prompts import is_holdout, normalised_words, prompt_hash
from tests.fakes.pairs import calling, request

WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


def hashed(*messages: Any, **changes: Any) -> str:
    found = prompt_hash(json.dumps(request(*messages, **changes)).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is  it?\n", "what is it?"),
        ("\N{LATIN SMALL LIGATURE FI}ne", "fine"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
    ],
)
def test_spelling_makes_no_other_prompt(left: str, right: str) -> None:
    assert hashed(left) == hashed(right)


def test_parts_of_a_text_are_the_text() -> None:
    parts = [{"type": "text", "text": "Say"}, {"type": "text", "text": "it."}]
    assert hashed({"role": "user", "content": parts}) == hashed("Say it.")


def test_a_developer_is_the_system() -> None:
    told = [{"role": role, "content": "Be brief."} for role in ("system", "developer")]
    assert hashed(told[0], "Hi") == hashed(told[1], "Hi")


def test_tools_and_parameters_are_no_part_of_a_prompt() -> None:
    assert hashed("Hi") == hashed("Hi", temperature=1, tools=[], model="other")


@pytest.mark.parametrize(
    "messages",
    [
        ["Hello"],
        ["Hi", "Hi"],
        [{"role": "system", "content": "Hi"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:1"}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:2"}}]}],
        [{"role": "assistant", "content": None, "tool_calls": [calling("f", "{}")]}],
        [{"role": "assistant", "content": None, "tool_calls": [calling("g", "{}")]}],
    ],
)
def test_other_messages_are_another_prompt(messages: list[Any]) -> None:
    others = [hashed("Hi"), hashed("Hi", {"role": "assistant", "content": None})]
    assert hashed(*messages) not in others


def test_the_names_of_calls_are_no_part_of_a_prompt() -> None:
    first, second = (
        {"role": "assistant", "tool_calls": [calling("f", "{}", id=name)]} for name in ("a", "b")
    )
    assert hashed(first) == hashed(second)


@pytest.mark.parametrize("found", [b"", b"{}", b'{"messages": 1}', b"\xff", b"[" * 100_000])
def test_what_has_no_messages_has_no_hash(found: bytes) -> None:
    assert prompt_hash(found) is None


@given(WORDS)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised_words(normalised_words(text)) == normalised_words(text)


@given(st.lists(WORDS, unique_by=normalised_words), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_to_the_holdout(
    prompts: list[str], share: float, other: float
) -> None:
    less, more = sorted((share, other))
    for prompt in map(hashed, prompts):
        assert is_holdout(prompt, more) or not is_holdout(prompt, less)
        assert is_holdout(prompt, 1.0)
        assert not is_holdout(prompt, 0.0)


@given(WORDS, st.floats(0, 1))
def test_a_prompt_stays_on_its_side_however_it_is_spelt(text: str, share: float) -> None:
    assert is_holdout(hashed(text), share) == is_holdout(hashed(f" {text}  "), share)


@pytest.mark.parametrize(
    ("digits", "share", "is_held"),
    [
        ("0" * 32, 0.0, False),
        ("7" + "f" * 31, 0.5, True),
        ("8" + "0" * 31, 0.5, False),
        ("f" * 32, 1.0, True),
    ],
)
def test_the_holdout_begins_at_the_least_hash_and_ends_before_its_share(
    digits: str, share: float, is_held: bool
) -> None:
    assert is_holdout(f"p1:{digits}", share) is is_held


def test_the_holdout_is_about_as_large_as_it_is_to_be() -> None:
    held = sum(is_holdout(hashed(str(number)), 0.1) for number in range(5000))
    assert 400 < held < 600


def test_hashes_and_sides_never_change() -> None:
    """A data set of today and one of next year are split alike."""
    assert hashed("Hi") == "p1:897be8e1f0370e7f41788b5b5337627e"
    assert [number for number in range(40) if is_holdout(hashed(str(number)), 0.1)] == [20, 30]
