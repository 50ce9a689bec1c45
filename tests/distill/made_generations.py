"""Generations for tests, each with a policy of its own."""

from typing import Any

from distill.generations import Reason
from routing.rollout import Generation, Rollout, Stage

URL = "http://student:8000/v1"
WHY = Reason("ada@desk", 1_800_000_000.0, "the bill is lower")


def policy(version: str, **changes: Any) -> dict[str, Any]:
    """A policy file's document that keeps by the plain mean."""
    return {
        "schema_version": 2,
        "cascade": "assistant",
        "student_version": version,
        "sampling": None,
        "rule": {
            "score": {"signals": ["mean_probability"], "weights": [1], "intercept": 0},
            "calibration": {"kind": "logistic", "slope": 8, "intercept": -4},
        },
        "threshold": 0.8,
        "target": {"kind": "quality", "value": 0.99, "with_probability": 0.95},
        "bound": 0.01,
        "n": 1000,
        "date": "2026-11-27",
        "data_sha256": "0" * 64,
    } | changes


def generation(number: int, base_url: str = URL, model: str | None = None) -> Generation:
    version = f"small-g{number}"
    return Generation(number, version, base_url, model or version, policy(version))


def rollout(candidate: Generation, **changes: Any) -> Rollout:
    values: dict[str, Any] = {
        "id": "r1", "stage": Stage.SHADOW, "share": 0.1, "holdout": 0.1, "until": 1_800_000_060.0,
    }  # fmt: skip
    return Rollout(candidate=candidate, **values | changes)
