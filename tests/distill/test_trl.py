"""TRL's trainers take one real step on exported files, and `datasets` reads every row of them.

UNDERSTUDY_TEST_DISTILL_PYTHON names an interpreter that has the extra `distill`; without it the
tests' own is asked.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from distill.rows import Format
from tests.distill.interpreter import distill_python
from tests.fakes.pairs import calling, completion, pair, pair_of_version_one, request, tool
from tests.understudy.pairs.making import consolidated, write_parts
from understudy.pairs.choice import Choice
from understudy.pairs.places import Place, place_at

pytestmark = [pytest.mark.distill, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).with_name("one_step.py")


def told(command: str, file: Path, folder: Path) -> Any:
    """What the script says of a file."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    done = subprocess.run(
        [distill_python(), str(SCRIPT), command, str(file), str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


WEATHER = tool("weather", city={"type": "string"})
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [calling("weather", '{"city": "Paris", "day": 1}')],
}
ANSWERED = {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"}


def every_kind(first: int) -> list[dict[str, Any]]:
    """A pair of each kind that a training set can hold."""
    call = calling("forecast", '{"days": [1, 2.5], "where": {"lat": 1}}')
    forecast = tool("forecast", days={"type": "array"}, where={"type": "object"})
    parts = [{"type": "text", "text": "Say"}, {"type": "text", "text": "it."}]
    developer = {"role": "developer", "content": "Be brief."}
    asked = [
        {"request": request("Hi", tools=[WEATHER])},
        {"request": request("Weather?", CALLED, ANSWERED, "And now?", tools=[WEATHER])},
        {
            "request": request("Forecast?", tools=[WEATHER, forecast]),
            "answer": completion(None, tool_calls=[call], finish_reason="tool_calls"),
        },
        {"request": request(developer, {"role": "user", "content": parts, "name": "Ann"})},
        {"answer": completion("2024-05-01", reasoning_content="A date.")},
        {"request": request("Bye", {"role": "assistant", "content": "Yes?"}, "Bye")},
    ]
    return [pair(number, **changes) for number, changes in enumerate(asked, start=first)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A data set of a few pairs of every kind, all of them to train on."""
    place = place_at(str(tmp_path_factory.mktemp("pairs")))
    plain = [pair(number) for number in range(5)] + [pair_of_version_one(5)]
    write_parts(place, plain, every_kind(10))
    consolidated(place, Choice(format=tuple(Format), holdout=0, with_reasoning=True))
    return place


def path_of(place: Place, form: Format) -> Path:
    return Path(place.path(f"dataset/{form.value}-train.jsonl"))


def test_the_sft_trainer_takes_a_step(exported: Place, tmp_path: Path) -> None:
    done = told("sft", path_of(exported, Format.SFT), tmp_path)
    assert (done["steps"], done["moved"]) == (1, True)
    assert done["loss"] > 0
    assert done["read"] == "<s>user: What is 3 + 1?</s><s>assistant: It is 4.</s>"
    assert done["learnt"] == "It is 4.</s>"


def test_the_dpo_trainer_takes_a_step(exported: Place, tmp_path: Path) -> None:
    done = told("dpo", path_of(exported, Format.DPO), tmp_path)
    assert (done["steps"], done["moved"]) == (1, True)
    assert 0.6 < done["loss"] < 0.8  # log 2 where the model is its own reference


@pytest.mark.parametrize("form", [form for form in Format if form.is_training_set])
def test_datasets_reads_every_row_as_it_stands(
    exported: Place, tmp_path: Path, form: Format
) -> None:
    done = told("load", path_of(exported, form), tmp_path)
    assert done["rows"] == done["lines"] >= 11
    assert done["differing"] == []


@pytest.mark.parametrize("form", [Format.SFT, pytest.param(Format.OPENAI, marks=pytest.mark.full)])
def test_datasets_reads_what_comes_up_late_in_a_large_file(tmp_path: Path, form: Format) -> None:
    """It takes its types from the first 10 MiB; the kinds that are rare come after those."""
    place = place_at(str(tmp_path / "pairs"))
    long = "word " * 700
    plain = [pair(number, answer=completion(long)) for number in range(4000)]
    write_parts(place, plain, every_kind(5000))
    consolidated(place, Choice(format=(form,), holdout=0, with_reasoning=True))
    path = path_of(place, form)
    assert path.stat().st_size > 13 * 2**20
    done = told("load", path, tmp_path)
    assert done["rows"] == done["lines"] == 4006
    assert done["differing"] == []
