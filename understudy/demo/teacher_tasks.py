"""What the stand-in teacher does beside answering: it writes new questions, and judges answers.

It does both by rule, for the demo's own families: it draws questions where a teacher would think of
some, and solves the question of which it is to judge two answers.
"""

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill import rubric, writing
from understudy.demo.families import FAMILIES, Family
from understudy.demo.workload import Message, solve

# What of the probability goes to the verdict; the other two share the rest.
SURE = 0.98
MOST_WRITTEN = 1000
MOST_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word, and how likely each of the three is."""

    word: str
    logprobs: Mapping[str, float]


def write_questions(messages: Sequence[Message], seed: int | None) -> str | None:
    """New questions of the family of the examples, as a JSON list; None where none are asked for.

    The list is empty where the examples are of no family.
    """
    told = _told(messages, writing.INSTRUCTIONS)
    if told is None:
        return None
    examples = [text for text in told.get("examples", ()) if isinstance(text, str)]
    family = next((found for found in map(_family_of, examples) if found is not None), None)
    how_many = told.get("how_many")
    if family is None or not isinstance(how_many, int):
        return "[]"
    rng = random.Random(_digest(seed, messages))
    drawn: dict[str, None] = {}
    for _ in range(MOST_DRAWS * min(how_many, MOST_WRITTEN)):
        if len(drawn) >= min(how_many, MOST_WRITTEN):
            break
        words = family.draw(rng)
        question = family.instruction + words
        if words not in family.examples and question not in examples:
            drawn.setdefault(question)
    return json.dumps(list(drawn))


def judge_answers(messages: Sequence[Message]) -> Verdict | None:
    """Which of two answers is right; None where none are to be judged."""
    told = _told(messages, rubric.RUBRIC)
    if told is None:
        return None
    question = str(told.get("request", ""))
    expected = solve([{"role": "user", "content": question}])
    family = _family_of(question)
    if expected is None or family is None:
        return _verdict(rubric.EQUAL)
    first, second = (
        family.accepts(expected, str(told.get(name, ""))) for name in ("answer_1", "answer_2")
    )
    if first is second:
        return _verdict(rubric.EQUAL)
    return _verdict(rubric.FIRST if first else rubric.SECOND)


def _verdict(word: str) -> Verdict:
    rest = math.log((1.0 - SURE) / (len(rubric.WORDS) - 1))
    ranked = sorted(rubric.WORDS, key=lambda each: each != word)
    return Verdict(
        word.upper(), {each.upper(): math.log(SURE) if each == word else rest for each in ranked}
    )


def _told(messages: Sequence[Message], instructions: str) -> dict[str, Any] | None:
    """The data of a task that has these instructions; None where that is not what is asked."""
    if len(messages) != 2 or messages[0].get("content") != instructions:
        return None
    try:
        told = json.loads(str(messages[1].get("content")))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _family_of(question: str) -> Family | None:
    for family in FAMILIES:
        words = question.removeprefix(family.instruction)
        if words != question and family.solve(words.strip()) is not None:
            return family
    return None


def _digest(seed: int | None, messages: Sequence[Message]) -> int:
    told = f"{seed}:{messages[-1].get('content')}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")
