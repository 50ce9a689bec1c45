"""Made-up evaluation records, drawn by a seed: what can be learnt of them is known."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evaluation.features import Table, gather
from evaluation.records import Record

WORDS = ("river", "stone", "cloud", "paper", "green", "seven", "table", "north", "quick", "salt")
HARD = ("integral", "theorem")
TASKS = ("easy", "odd")

JsonRecord = dict[str, Any]


def answers(
    n: int, seed: int = 0, *, teacher: float = 1.0, with_prompt: bool = True
) -> Iterator[JsonRecord]:
    """Answers of a few tokens, sure where they are right; one label is wrong however sure.

    With prompts, those that hold a HARD word are answered badly; ``teacher`` is how often the
    teacher is right.
    """
    generator = np.random.default_rng(seed)
    for place in range(n):
        words = list(generator.choice(WORDS, 6))
        is_hard = generator.random() < 0.3
        if is_hard:
            words[2] = str(generator.choice(HARD))
        label = str(generator.choice(["up", "down", "none"], p=[0.5, 0.3, 0.2]))
        sure = float(generator.beta(4, 2))
        chance = sure * (0.3 if label == "none" else 1.0) * (0.3 if is_hard else 1.0)
        logprobs = np.log(np.clip(sure + generator.normal(0, 0.02, 3), 0.05, 0.999))
        record: JsonRecord = {
            "id": f"q{place}",
            "group": TASKS[place % 2],
            "student": {
                "text": label,
                "tokens": ["a", "b", "c"],
                "token_logprobs": [float(each) for each in logprobs],
                "top_logprobs": [[float(each), float(each) - 1.5] for each in logprobs],
                "finish_reason": "stop",
                "ok": bool(generator.random() < chance),
            },
            "teacher": {"ok": bool(generator.random() < teacher)},
        }
        if with_prompt:
            record["prompt"] = f"{' '.join(words)} {place}"
        yield record


def prompts_alone(n: int, seed: int = 0) -> Iterator[JsonRecord]:
    """Prompts and outcomes without any evidence."""
    for record in answers(n, seed, teacher=0.9):
        yield record | {"student": {"ok": record["student"]["ok"]}}


def signals_alone(n: int, seed: int = 0) -> Iterator[JsonRecord]:
    """Evidence that the records bring of their own, one of it out of [0, 1]."""
    for record in answers(n, seed, with_prompt=False):
        student = record["student"]
        sure = float(np.exp(student["token_logprobs"][0]))
        brought = {"p_true": sure, "logit": 40.0 * sure, "mean_probability": sure}
        yield record | {"student": {"signals": brought, "ok": student["ok"]}}


def record_of(document: JsonRecord) -> Record:
    return msgspec.convert(document, Record)


def table_of(documents: Iterable[JsonRecord]) -> Table:
    return gather(map(record_of, documents))[1]


def written(path: Path, documents: Iterable[JsonRecord]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in documents), encoding="utf-8")
    return path
