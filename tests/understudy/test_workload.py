import json

import pytest

from understudy.demo.families import FAMILIES, number_in_words
from understudy.demo.workload import Task, generate, solve

SEEDS = range(20)


def question(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


def task_of(family: str, seed: int = 7) -> Task:
    return next(task for task in generate(seed, 40) if task.family == family)


def test_the_same_seed_gives_the_same_tasks() -> None:
    assert generate(3, 200) == generate(3, 200)


def test_another_seed_gives_other_tasks() -> None:
    assert generate(3, 200) != generate(4, 200)


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    assert generate(3, 20) == generate(3, 200)[:20]


@pytest.mark.parametrize("seed", SEEDS)
def test_tasks_are_distinct_and_never_ask_for_a_shown_example(seed: int) -> None:
    tasks = generate(seed, 200)
    assert len({task.id for task in tasks}) == 200
    assert len({task.messages[-1]["content"] for task in tasks}) == 200
    for task in tasks:
        shown = [message["content"] for message in task.messages[:-1]]
        assert task.messages[-1]["content"] not in shown


@pytest.mark.parametrize("seed", SEEDS)
def test_the_solver_satisfies_every_checker(seed: int) -> None:
    for task in generate(seed, 200):
        answer = solve(task.messages)
        assert answer is not None
        assert task.is_solved_by(answer)


def test_the_solver_agrees_with_every_example_shown() -> None:
    for task in generate(1, len(FAMILIES)):
        for asked, answered in zip(task.messages[::2], task.messages[1::2], strict=False):
            assert solve([asked]) == answered["content"]


def test_the_families_take_turns() -> None:
    tasks = generate(1, 200)
    shares = {family.name: sum(task.family == family.name for task in tasks) for family in FAMILIES}
    assert set(shares.values()) == {50}


def test_more_tasks_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        generate(1, 5000)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Rewrite as YYYY-MM-DD: 29 February 2024", "2024-02-29"),
        ("Order to JSON: 1 lamp at 2 dollars each", '{"item": "lamp", "quantity": 1, "price": 2}'),
        ("In digits: nine hundred and ninety-nine", "999"),
        ("In digits: zero", "0"),
        ("In digits: four hundred", "400"),
        ("Last name first: Ada Lovelace", "Lovelace, Ada"),
        ("Multiply: 1234 times 5678", "7006652"),
    ],
)
def test_a_question_typed_by_hand_is_solved_from_its_words(text: str, answer: str) -> None:
    assert solve(question(text)) == answer


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Rewrite as YYYY-MM-DD: 30 February 2024",
        "Rewrite as YYYY-MM-DD: 5 Brumaire 2024",
        "Rewrite as YYYY-MM-DD: 0 May 2024",
        "Order to JSON: chairs at 40 dollars each",
        "Order to JSON: 03 chairs at 40 dollars each",
        "In digits: forty-twelve",
        "In digits: ten hundred",
        "In digits: three hundred and",
        "In digits: three hundred seven",
        "In digits: ",
        "Multiply: 12 times 034",
        "Multiply: 12 times",
        "Last name first: Ada",
        "Last name first: Ada Lovelace, please",
        "",
    ],
)
def test_what_is_no_task_has_no_answer(text: str) -> None:
    assert solve(question(text)) is None


def test_only_a_question_of_the_user_is_solved() -> None:
    assert solve([]) is None
    assert solve([{"role": "assistant", "content": "In digits: ten"}]) is None
    assert solve([{"role": "user", "content": None}]) is None


def test_content_given_as_text_parts_is_solved() -> None:
    parts = [{"type": "text", "text": "In digits: "}, {"type": "text", "text": "ten"}]
    assert solve([{"role": "user", "content": parts}]) == "10"


def test_content_with_a_picture_is_not_solved() -> None:
    parts = [{"type": "text", "text": "In digits: ten"}, {"type": "image_url", "image_url": {}}]
    assert solve([{"role": "user", "content": parts}]) is None


def test_every_number_is_read_back_from_its_words() -> None:
    for number in range(1000):
        assert solve(question(f"In digits: {number_in_words(number)}")) == str(number)


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_layout_and_a_closing_full_stop_do_not_matter(family: str) -> None:
    task = task_of(family)
    assert task.is_solved_by(f"  {task.expected}\n")
    if family != "order":
        assert task.is_solved_by(f"{task.expected}.")
        assert task.is_solved_by(f"`{task.expected}`")


def test_an_order_in_another_layout_is_right() -> None:
    task = task_of("order")
    order = json.loads(task.expected)
    assert task.is_solved_by(json.dumps(dict(reversed(order.items())), indent=2))


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": True},
        {"item": " chairs"},
        {"price": "40"},
        {"price": 40.0},
        {"colour": "red"},
    ],
)
def test_an_order_with_any_other_value_is_wrong(change: dict[str, object]) -> None:
    task = task_of("order")
    assert not task.is_solved_by(json.dumps(json.loads(task.expected) | change))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_answer_to_another_question_is_right(seed: int) -> None:
    tasks = generate(seed, 200)
    for task in tasks:
        for other in tasks[:40]:
            if other.expected != task.expected:
                assert not task.is_solved_by(other.expected)


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_a_perturbed_answer_is_wrong(family: str) -> None:
    task = task_of(family)
    right = task.expected
    for place, character in enumerate(right):
        if character.isalnum():
            assert not task.is_solved_by(right[:place] + right[place + 1 :])
            assert not task.is_solved_by(right[:place] + character + right[place:])
    for wrong in ("", ".", "null", f"{right} {right}", f"The answer is {right}", f"-{right}"):
        assert not task.is_solved_by(wrong)
