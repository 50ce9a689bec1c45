import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.labels import MAX_LABEL_CHARACTERS, label_of, one_hot


@pytest.mark.parametrize("text", ["none", "None.", " NONE\n", '"none"', "**None**", "(none)"])
def test_case_blanks_and_marks_around_make_no_difference(text: str) -> None:
    assert label_of(text) == "none"


def test_longer_text_is_no_label() -> None:
    assert label_of("a" * MAX_LABEL_CHARACTERS) == "a" * MAX_LABEL_CHARACTERS
    assert label_of("a" * (MAX_LABEL_CHARACTERS + 1)) == ""
    assert label_of("ß" * MAX_LABEL_CHARACTERS) == ""  # each becomes two letters


@given(st.text())
def test_label_of_a_label_is_itself(text: str) -> None:
    assert label_of(label_of(text)) == label_of(text)


def test_one_of_the_known_is_one_and_none_of_them_is_none() -> None:
    assert dict(one_hot("label=", ("up", "down"), "up")) == {"label=up": 1.0, "label=down": 0.0}
    assert dict(one_hot("label=", ("up", "down"), "")) == {"label=up": 0.0, "label=down": 0.0}
