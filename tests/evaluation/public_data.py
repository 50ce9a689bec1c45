"""Public data sets that lie beside a checkout, where they do: never part of it."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from evaluation.outcomes import Floats
from tests.architecture.source import ROOT

FOLDER = ROOT.parent / "shared" / "data"
RIGHT = ("mixtral_8x7b_correct", "gpt4_1106_correct")


def data(name: str) -> Path:
    """The file's path; skips the test where it is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"public data are not here: {path}")
    return path


def emotion_pair() -> tuple[Floats, Floats, Floats]:
    """Confidence and correctness of Qwen-1.8B, correctness of Qwen-14B, on emotion_10k."""
    with np.load(data("emotion10k_option_logits.npz")) as logits:
        student = logits["Qwen-1_8B__task"].astype(np.float64)
        teacher = logits["Qwen-14B__task"].astype(np.float64)
        answer = logits["y"]
    right = (student.argmax(axis=1) == answer).astype(np.float64)
    return max_probability(student), right, (teacher.argmax(axis=1) == answer).astype(np.float64)


def agreement_pair(task: str) -> tuple[Floats, Floats]:
    """Confidence of Qwen-1.8B, and whether it agrees with Qwen-72B, on one of the tasks."""
    with np.load(data("lub_option_logits_Qwen.npz")) as logits:
        student = logits[f"Qwen-1_8B__{task}"].astype(np.float64)
        teacher = logits[f"Qwen-72B__{task}"].astype(np.float64)
    agrees = student.argmax(axis=1) == teacher.argmax(axis=1)
    return max_probability(student), agrees.astype(np.float64)


def routellm(name: str) -> tuple[Floats, Floats]:
    """Was Mixtral right, was GPT-4 right, on each question of one of RouteLLM's sets."""
    with gzip.open(data(name), "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    student, teacher = ([float(row[key]) for row in rows] for key in RIGHT)
    return np.array(student), np.array(teacher)


def max_probability(logits: Floats) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray((odds / odds.sum(axis=1, keepdims=True)).max(axis=1))
