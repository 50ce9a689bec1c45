"""The GGUF of a student is the student: read by transformers, and answering in llama.cpp."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distill.trainer import Trainer
from understudy.demo.families import FAMILIES
from understudy.demo.student import WeightsNotFoundError, find_weights

pytestmark = [pytest.mark.distill, pytest.mark.full, pytest.mark.timeout(900)]

LLAMA = Path(__file__).with_name("llama_answers.py")
QUESTIONS = ("What is the capital of France?", "Name three colours.")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    pytest.importorskip("xllamacpp")
    try:
        weights = find_weights()
    except WeightsNotFoundError as error:
        pytest.skip(str(error))
    made = Trainer(tmp_path_factory.mktemp("gguf"))
    made.base = weights
    yield made
    made.end()


def row(number: int) -> dict[str, Any]:
    family = FAMILIES[number % len(FAMILIES)]
    words = family.draw(random.Random(number))
    return {
        "prompt": [{"role": "user", "content": family.instruction + words}],
        "completion": [{"role": "assistant", "content": family.solve(words)}],
    }


def test_llama_cpp_answers_as_transformers_does(trainer: Trainer) -> None:
    """A few steps change the weights; what both say then, how surely, is compared."""
    data = trainer.folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row(number)) + "\n" for number in range(32)))
    options = ("--steps", "8", "--learning-rate", "1e-3", "--gguf", "--merge")
    card = trainer.trains("student", *options, data=data)
    out = trainer.folder / "student"
    assert f"-m {out / 'student-q8_0.gguf'}" in card["serve"]["llama.cpp"]

    rounding = trainer.does("rounding", str(out / "merged"), str(out / "student-q8_0.gguf"))
    # Half a step, and what bfloat16 took of merged/: a 512th of a value, a quarter of a step.
    assert max(rounding) < 0.8

    held_out = [row(number)["prompt"][0]["content"] for number in range(100, 108)]
    asked = [*held_out, *QUESTIONS]
    expected = trainer.does("answered", str(out / "merged"), *asked)
    done = subprocess.run(
        [sys.executable, str(LLAMA), str(out / "student-q8_0.gguf")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    both = list(zip(expected, json.loads(done.stdout), strict=True))
    same = [(left, right) for left, right in both if left["text"] == right["text"]]
    assert len(same) >= 8, both
    differences = [
        abs(one - other)
        for left, right in same
        for one, other in zip(left["logprobs"], right["logprobs"], strict=False)
    ]
    assert sum(differences) / len(differences) < 0.05
