from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from distill.causes import Cause
from distill.curating import balance, screen
from distill.dataset import Example, said_in
from distill.likeness import Likeness, print_of
from tests.fakes.datasets import examples, row

QUESTIONS = st.text("ab ", min_size=1, max_size=9)
ROWS = st.lists(st.tuples(QUESTIONS, st.sampled_from(["x", "y", "", "bad"])), max_size=15)
LONG = "Say in one word what the opposite of the following word is, please: "


def rows_of(told: list[tuple[str, str]], name: str) -> list[Example]:
    return examples(row(f"{name}{n}", q, a) for n, (q, a) in enumerate(told))


def is_fine(example: Example) -> bool:
    return said_in(example.answer) != "bad"


def ids(found: Any) -> list[str]:
    return [each.id for each in found.kept]


@given(ROWS, ROWS, st.sampled_from([0.5, 0.8, 1.0]))
def test_every_row_is_accounted_for_and_nothing_near_the_holdout_stays(
    train: list[tuple[str, str]], holdout: list[tuple[str, str]], at_least: float
) -> None:
    read, held = rows_of(train, "t"), rows_of(holdout, "h")
    screened = screen(read, held, at_least, is_fine)
    assert len(screened.kept) + screened.left_out.total() == len(read)
    assert [each for each in read if each in screened.kept] == list(screened.kept)
    judge = Likeness.of([], at_least)
    for kept in screened.kept:
        assert kept.answer["content"] in ("x", "y")
        assert all(kept.key != each.key for each in held)
        assert not any(judge.is_near(print_of(kept.prompt), print_of(h.prompt)) for h in held)
    assert len({each.key for each in screened.kept}) == len(screened.kept)


def test_of_equal_prompts_the_newest_stays() -> None:
    read = rows_of([("Hi there", "x"), ("Other", "x"), ("hi  THERE", "y")], "t")
    screened = screen(read, [], 0.9, is_fine)
    assert ids(screened) == ["t1", "t2"]
    assert screened.left_out == {Cause.DUPLICATE_PROMPT: 1}


def test_a_broken_answer_does_not_push_out_an_older_good_one() -> None:
    read = rows_of([("Hi there", "x"), ("Hi there", "bad")], "t")
    screened = screen(read, [], 0.9, is_fine)
    assert ids(screened) == ["t0"]
    assert screened.left_out == {Cause.ANSWER_NOT_AS_ASKED: 1}


def test_a_near_prompt_goes_only_with_the_same_answer() -> None:
    near = [(LONG + "hot and warm things", "cold"), (LONG + "hot and warm thing", "Cold.")]
    assert ids(screen(rows_of(near, "t"), [], 0.9, is_fine)) == ["t1"]
    other = [near[0], (near[1][0], "frozen")]
    assert ids(screen(rows_of(other, "t"), [], 0.9, is_fine)) == ["t0", "t1"]


def test_what_is_near_the_holdout_goes_whatever_its_answer() -> None:
    read = rows_of([(LONG + "hot and warm things", "x"), (LONG + "up", "x")], "t")
    held = rows_of([(LONG + "hot and warm thing", "y")], "h")
    screened = screen(read, held, 0.9, is_fine)
    assert ids(screened) == ["t1"]
    assert screened.left_out == {Cause.NEAR_HOLDOUT: 1}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 5), st.integers(0, 3))
def test_a_cap_holds_for_each_cluster_and_leaves_small_ones_alone(
    labels: list[int], most: int, seed: int
) -> None:
    read = rows_of([(f"q{n}", "x") for n in range(len(labels))], "t")
    balanced = balance(read, labels, most, seed)
    by_id = {each.id: label for each, label in zip(read, labels, strict=True)}
    kept = Counter(by_id[each.id] for each in balanced.kept)
    assert kept == {label: min(count, most) for label, count in Counter(labels).items()}
    assert len(balanced.kept) + balanced.left_out.total() == len(read)
    again = balance(read, labels, most, seed)
    assert again == balanced


def test_without_a_cap_all_stay() -> None:
    read = rows_of([("a", "x"), ("b", "x")], "t")
    assert balance(read, [0, 0], None, 0).kept == read


def test_which_rows_a_cap_keeps_has_nothing_to_do_with_their_place() -> None:
    read = rows_of([(f"q{n}", "x") for n in range(100)], "t")
    kept = balance(read, [0] * 100, 50, 1).kept
    early = sum(int(each.id[1:]) < 50 for each in kept)
    assert 15 < early < 35
    assert kept != balance(read, [0] * 100, 50, 2).kept
