"""Two students asked the same questions: records and policies of which the truth is known."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from routing import Basis, Origin, Policy, Rule, Score, Target, Threshold, policy_document
from routing.calibration import PiecewiseLinear

JsonRecord = dict[str, Any]
Odds = Callable[[str, float], float]

GROUPS = ("dates", "sums", "names", "riddles")
UNSEEN = "0" * 64


def good(group: str, ease: float) -> float:
    """The chance of a student that has learnt all but the riddles."""
    return 0.05 if group == "riddles" else 0.9 + 0.09 * ease


def poor(group: str, ease: float) -> float:
    """The chance of one that gets the easier half."""
    return 0.05 if group == "riddles" else 0.1 + 0.85 * (ease > 0.5)


def records(n: int, version: str, odds: Odds, seed: int = 0) -> list[JsonRecord]:
    """A student that is right with ``odds``, knows how sure it may be, and says so."""
    asked, answering = np.random.default_rng(7), np.random.default_rng(seed)
    found = []
    for place in range(n):
        group = GROUPS[int(asked.integers(len(GROUPS)))]
        chance = odds(group, float(asked.random()))
        said = min(max(chance + float(answering.normal(0, 0.02)), 0.01), 0.99)
        found.append(
            {
                "id": f"q{place}",
                "group": group,
                "prompt": f"{group} number {place}",
                "student": {
                    "text": "yes",
                    "version": version,
                    "token_logprobs": [math.log(said)] * 3,
                    "top_logprobs": [[math.log(said), math.log(said) - 1.0]] * 3,
                    "finish_reason": "stop",
                    "sampling": {"temperature": 0},
                    "cost_usd": 0.0001,
                    "ok": bool(answering.random() < chance),
                },
                "teacher": {"ok": True, "cost_usd": 0.002},
            }
        )
    return found


def shuffled(documents: list[JsonRecord], seed: int = 0) -> list[JsonRecord]:
    """As a student answers that was trained on shuffled answers: as sure as ever, and wrong.

    Each draft stands at another question than the one that it was made for.  There it is right
    only by chance.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(documents))
    found = []
    for place, other in enumerate(order):
        student = documents[int(other)]["student"] | {"ok": bool(generator.random() < 0.1)}
        found.append(documents[place] | {"student": student})
    return found


def policy(version: str, threshold: float, data: str = UNSEEN, cascade: str = "c") -> JsonRecord:
    """A policy that takes the student's word for how sure it is."""
    rule = Rule(
        Score(signals=("mean_probability",), weights=(1.0,)),
        PiecewiseLinear((0.0, 1.0), (0.001, 0.999)),
        Threshold(threshold),
    )
    basis = Basis(Target("quality", 0.99, 0.95), 0.99, 500)
    origin = Origin(cascade, version, basis, "2026-11-30", data)
    return dict(policy_document(Policy("made", rule), origin))


def written(path: Path, documents: Iterable[JsonRecord]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    return path


def policy_written(path: Path, document: JsonRecord) -> Path:
    path.write_text(json.dumps(document))
    return path
