import json
from collections import Counter

from distill.card import Card, Content, Made, Step, Written
from distill.causes import Cause


def card() -> Card:
    content = Content(by_reason=Counter(low_confidence=6), by_tenant=Counter({"a|b\n": 6}))
    content.prompt_characters = Counter({64: 5, 128: 1})
    made = Made(
        "sft",
        [Step("consent", 9, {"tenant_may_not_train": 2}), Step("format", 7, {"spliced": 1})],
        [Written("sft-train.jsonl", 6, 1234, "ab" * 32)],
        content,
    )
    consent = {"cascade": "assistant", "tenant": None, "teacher": "t", "cause": "x", "pairs": 2}
    return Card(
        made_at="2026-11-27T12:00:00+00:00",
        source={"records": 10, "newest": None},
        options={"tenant_cap": None, "holdout": 0.1, "with_reasoning": True, "cascades": []},
        versions={"understudy": "0.1.0"},
        steps=[Step("records", 10, {"duplicate_id": 1, "deleted": 0})],
        without_consent=[consent],
        formats=[made],
        notes=["a note"],
    )


def test_every_pair_is_accounted_for() -> None:
    told = json.loads(card().encoded())
    made = told["formats"]["sft"]
    steps = [*told["steps"], *made["steps"]]
    assert [(step["in"], step["out"]) for step in steps] == [(10, 9), (9, 7), (7, 6)]
    for step in steps:
        assert step["in"] - step["out"] == sum(step["left_out"].values())
    assert told["steps"][0]["left_out"] == {"duplicate_id": 1}
    assert sum(each["rows"] for each in made["prompt_characters"]) == 6


def test_people_read_the_same() -> None:
    page = card().readable()
    for words in (
        "| all | records | 10 | 9 | duplicate_id 1 |",
        "| sft | consent | 9 | 7 | tenant_may_not_train 2 |",
        "| assistant | (none) | t | x | 2 |",
        f"| sft-train.jsonl | 6 | 1,234 | `{'ab' * 32}` |",
        "≤64: 5, ≤128: 1",
        "| with reasoning | yes |",
        "| tenant cap | any |",
        "- a note",
        "tenants: a/b 6",
    ):
        assert words in page


def test_causes_are_words_that_are_their_own_keys() -> None:
    assert all(cause.value == cause.name.lower() for cause in Cause)
