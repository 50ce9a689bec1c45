import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import PolicyError
from routing.prompt import (
    EDGE_CHARACTERS,
    MAX_GROUP_CHARACTERS,
    SURFACE_NAMES,
    Prompt,
    PromptModel,
    Surface,
    Terms,
    hashed_terms,
    is_group,
    prompt_features,
    prompt_of,
)

BUCKETS = 2**16


def said(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


# --- what is read ---


def test_prompt_is_the_conversation_with_its_roles() -> None:
    messages = [said("system", "Be brief."), said("user", "Why?"), said("assistant", None)]
    assert prompt_of(messages, "math") == Prompt(
        "system: Be brief.\nuser: Why?\nassistant: ", "math"
    )


def test_text_alone_is_what_a_user_said() -> None:
    assert prompt_of("Why?") == prompt_of([said("user", "Why?")]) == Prompt("user: Why?")


def test_of_parts_only_texts_are_read() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": "this?"},
        "stray",
        {"type": "text", "text": 7},
    ]
    assert prompt_of([said("user", parts)]).text == "user: What is\nthis?"


@pytest.mark.parametrize("messages", [None, 7, {}, [], [None], [[]], [{}], [said("user", 7)]])
def test_what_is_no_message_says_nothing_and_never_raises(messages: object) -> None:
    assert prompt_of(messages).text in {"", "None: ", "user: "}


def test_conversation_of_twice_the_edge_is_read_whole_and_a_longer_one_at_its_ends() -> None:
    fits = "a" * (2 * EDGE_CHARACTERS - len("user: "))
    assert prompt_of(fits).text == f"user: {fits}"
    longer = prompt_of("b" + fits).text
    assert len(longer) == 2 * EDGE_CHARACTERS + 1
    assert longer == f"user: b{'a' * (EDGE_CHARACTERS - 7)}\n{'a' * EDGE_CHARACTERS}"


@given(
    st.lists(
        st.tuples(st.sampled_from(["user", "system"]), st.integers(0, 3 * EDGE_CHARACTERS)),
        max_size=6,
    )
)
def test_ends_of_any_conversation_are_those_of_the_whole(lengths: list[tuple[str, int]]) -> None:
    texts = [(role, f"{place}" * length) for place, (role, length) in enumerate(lengths)]
    whole = "\n".join(f"{role}: {text}" for role, text in texts)
    read = prompt_of([said(role, text) for role, text in texts]).text
    if len(whole) <= 2 * EDGE_CHARACTERS:
        assert read == whole
    else:
        assert read == f"{whole[:EDGE_CHARACTERS]}\n{whole[-EDGE_CHARACTERS:]}"


@pytest.mark.parametrize("name", ["a", "mmlu:law.v2_x-1", "x" * MAX_GROUP_CHARACTERS])
def test_short_plain_names_are_groups(name: str) -> None:
    assert is_group(name)


@pytest.mark.parametrize("name", ["", "x" * (MAX_GROUP_CHARACTERS + 1), "a b", "ä", "a\n", "a/b"])
def test_other_names_are_none(name: str) -> None:
    assert not is_group(name)


# --- terms ---


def test_terms_are_words_and_neighbours_whatever_their_case() -> None:
    assert hashed_terms("The CAT, the cat!", BUCKETS) == hashed_terms("the cat the cat", BUCKETS)
    assert sum(hashed_terms("the cat the cat", BUCKETS).values()) == 4 + 3
    assert sorted(hashed_terms("the cat the cat", BUCKETS).values()) == [1, 2, 2, 2]


def test_hash_is_the_same_for_ever() -> None:
    # CRC-32 of "the", "cat" and "the cat", as any other program computes it.
    assert hashed_terms("the cat", 2**32) == {0x3C456DE6: 1, 0x9E5E43A8: 1, 0xF1136BC8: 1}


def test_each_character_counts_in_scripts_without_blanks() -> None:
    assert len(hashed_terms("\u6771\u4eac\u90fd abc", BUCKETS)) == 4 + 3


@given(st.text(), st.integers(1, 100))
def test_any_text_has_terms_within_its_buckets(text: str, buckets: int) -> None:
    terms = hashed_terms(text, buckets)
    assert all(0 <= bucket < buckets and count > 0 for bucket, count in terms.items())


# --- surface ---


def test_surface_is_counted_in_the_order_of_its_names() -> None:
    found = dict(
        zip(SURFACE_NAMES, prompt_features(Prompt("Is 12 > 7?\n\u00c4h, no?")), strict=True)
    )
    assert found == pytest.approx(
        {
            "log_characters": math.log(19),
            "log_words": math.log(7),
            "word_length": 14 / 6,
            "digits": 3 / 18,
            "capitals": 1 / 18,
            "punctuation": 4 / 18,
            "beyond_ascii": 1 / 18,
            "log_lines": math.log(2),
            "log_questions": math.log(3),
        }
    )


@given(st.text())
def test_surface_of_any_text_is_finite(text: str) -> None:
    assert all(map(math.isfinite, prompt_features(Prompt(text))))
    assert prompt_features(Prompt("")) == (0.0,) * len(SURFACE_NAMES)


# --- the model ---


def place_of(word: str) -> int:
    (place,) = hashed_terms(word, BUCKETS)
    return place


CAT, DOG = place_of("cat"), place_of("dog")
TERMS = Terms(BUCKETS, (CAT, DOG), (2.0, 1.0), (0.5, -1.0))


def test_known_terms_make_a_vector_of_length_one() -> None:
    assert TERMS.of("cat") == 0.5
    assert TERMS.of("cat and cat and cat") == 0.5
    assert TERMS.of("dog") == -1.0
    assert TERMS.of("cat and dog") == pytest.approx((2 * 0.5 - 1) / math.sqrt(5))
    assert TERMS.of("dog cat dog") == TERMS.of("cat and dog")


def test_text_without_a_known_term_says_nothing() -> None:
    assert TERMS.of("") == TERMS.of("and") == 0.0


def test_terms_surface_and_group_add_up() -> None:
    ones = (1.0,) * len(SURFACE_NAMES)
    zeros = (0.0,) * len(SURFACE_NAMES)
    surface = Surface(means=zeros, scales=(2.0,) * len(ones), weights=(1.0, *zeros[1:]))
    model = PromptModel(TERMS, surface, {"math": 0.25}, intercept=0.125)
    assert model.of(Prompt("cat", "math")) == pytest.approx(0.875 + math.log(4) / 2)
    assert model.of(Prompt("cat", "law")) == model.of(Prompt("cat"))
    assert model.of(Prompt("cat")) == pytest.approx(0.625 + math.log(4) / 2)
    assert PromptModel(TERMS).of(Prompt("cat")) == 0.5


@pytest.mark.parametrize(("numbers", "scale"), [(8, 1.0), (10, 1.0), (9, 0.0), (9, -1.0)])
def test_surface_that_does_not_fit_is_refused(numbers: int, scale: float) -> None:
    with pytest.raises(PolicyError):
        Surface((0.0,) * numbers, (scale,) * numbers, (0.0,) * numbers)


def test_records_and_requests_are_read_alike() -> None:
    messages = [said("user", [{"type": "text", "text": "Why \u00e9?"}])]
    assert prompt_of(json.loads(json.dumps(messages))) == prompt_of(messages)
