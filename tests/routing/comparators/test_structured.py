import pytest

from routing.comparators import Question, Score, same_json


def score(left: str, right: str) -> float:
    begun = same_json().begin(Question(), left, right)
    assert isinstance(begun, Score)
    return begun.value


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', 1),
        ('{"a": 1}', '{"a": 1.0}', 1),
        ('{"a": 1}', '{"a": true}', 0),
        ('{"a": 1}', '{"a": "1"}', 0),
        ('{"a": null}', "{}", 0),
        ('{"a": 1, "b": 2}', '{"a": 1}', 1 / 2),
        ('{"a": 1, "b": 2}', '{"a": 1, "c": 2}', 1 / 3),
        ('{"a": {"x": 1, "y": 2}, "b": 3}', '{"a": {"x": 1, "y": 9}, "b": 3}', 2 / 3),
        ('{"a": {"x": 1, "y": 2}, "b": 3}', '{"a": 5, "b": 3}', 1 / 3),
        ("[1, 2, 3]", "[1, 2]", 2 / 3),
        ("[1, 2]", "[2, 1]", 0),
        ("[[], {}]", "[[], {}]", 1),
        ("[]", "{}", 0),
        ("[]", "[1, 2]", 0),
        ('"caf\\u00e9"', '"cafe\u0301"', 1),
        ('"Paris"', '"paris"', 0),
        ("NaN", " NaN", 1),
        ("NaN", "1", 0),
        ("true", "true ", 1),
        # JSON among words.
        ('```json\n{"a": 1}\n```', '{"a": 1}', 1),
        ('Here it is: {"a": [1]}. Enjoy!', '{"a": [1]}', 1),
        ('use {braces}: {"a": 1}', '{"a": 1}', 1),
        ("```\nnone\n``` [2]", "[2]", 1),
        # No JSON.
        ("Paris.", "paris", 1),
        ("Paris", "Rome", 0),
        ('{"a": 1', '{"a": 1}', 0),
        ('{"a": 1}', "a is 1", 0),
        # Adversaries.
        ("[" * 100_000, "[", 0),
        ("1" * 5000, "1" * 5000 + " ", 1),
        ("1" * 5000, "1", 0),
    ],
)
def test_the_share_of_fields(left: str, right: str, expected: float) -> None:
    assert score(left, right) == score(right, left) == pytest.approx(expected)


def test_how_much_is_enough_is_said() -> None:
    left, right = '{"a": 1, "b": 2}', '{"a": 1}'
    lenient = same_json(0.5)
    begun = lenient.begin(Question(), left, right)
    assert isinstance(begun, Score)
    assert begun.is_same(lenient.at_least)
    assert not begun.is_same(same_json().at_least)
