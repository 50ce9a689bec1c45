import json
from pathlib import Path
from typing import Any

from distill.folder import Folder
from distill.lessons import DataFile, Lesson, Lessons
from distill.lineage import Lineage
from distill.recipe import Recipe
from distill.student_card import Trained, card_of, encoded, readable, serving
from distill.task import Source, Task

VERSION = "tiny-g2-3f9c01ab77de"


def card(folder: Folder, recipe: Recipe | None = None) -> dict[str, Any]:
    recipe = recipe or Recipe()
    lesson = Lesson([], {}, None, None)
    lessons = Lessons(holdout=[lesson], files=[DataFile("a|b.jsonl", 1200, "ab" * 32)])
    source = Source(Path("/models/tiny"), None, None)
    lineage = Lineage("tiny", 2, "tiny-g1-00")
    task = Task(source, lessons, recipe, lineage, folder, must_merge=False, made_at="now")
    trained = Trained(
        version=VERSION,
        options=recipe.document(),
        counts={"train": 1200, "left_out": {"too_long": 3}},
        metrics={"loss": 0.123456789, "stopped_early": False},
        versions={"torch": "2.13.0"},
        made_at="2026-11-27T12:00:00+00:00",
    )
    return card_of(trained, task)


def test_the_card_says_what_a_registry_needs(tmp_path: Path) -> None:
    told = json.loads(encoded(card(Folder(tmp_path))))
    assert (told["card_version"], told["version"], told["name"]) == (1, VERSION, "tiny")
    assert (told["generation"], told["parent"], told["base"]) == (2, "tiny-g1-00", "/models/tiny")
    assert told["data"]["holdout_rows"] == 1
    assert told["data"]["files"] == [{"name": "a|b.jsonl", "rows": 1200, "sha256": "ab" * 32}]


def test_people_read_the_same(tmp_path: Path) -> None:
    told = card(Folder(tmp_path)) | {"serve": {"vllm": "vllm serve x"}}
    page = readable(told)
    for words in (
        f"# {VERSION}",
        "Generation 2, after tiny-g1-00, made 2026-11-27T12:00:00+00:00.",
        f"`understudy calibrate --student-version {VERSION}`",
        "```sh\nvllm serve x\n```",
        f"| a/b.jsonl | 1,200 | `{'ab' * 32}` |",
        "| left_out | too_long 3 |",
        "| loss | 0.123457 |",
        "| stopped_early | no |",
        "| measure_every | none |",
        "| torch | 2.13.0 |",
    ):
        assert words in page
    first = readable(told | {"parent": None})
    assert "Generation 2, made" in first


def test_an_adapter_is_served_on_its_base(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.adapter.mkdir()
    told = serving(card(folder), folder)
    assert told["vllm"] == (
        f"vllm serve /models/tiny --enable-lora --lora-modules {VERSION}={folder.adapter}"
    )
    assert f'"lora_path": "{folder.adapter}"' in told["vllm at run time"]
    assert "llama.cpp" not in told
    folder.base.mkdir()
    assert f"vllm serve {folder.base} " in serving(card(folder), folder)["vllm"]


def test_vllm_is_told_of_a_rank_above_its_own_limit(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.adapter.mkdir()
    assert "max-lora-rank" not in serving(card(folder, Recipe(rank=16)), folder)["vllm"]
    assert "--max-lora-rank 17" in serving(card(folder, Recipe(rank=17)), folder)["vllm"]


def test_whole_weights_are_served_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.merged.mkdir()
    folder.gguf.touch()
    assert serving(card(folder, Recipe(full=True)), folder) == {
        "vllm": f"vllm serve {folder.merged} --served-model-name {VERSION}",
        "llama.cpp": f"llama-server -m {folder.gguf} --alias {VERSION} --jinja",
    }


def test_nothing_written_is_not_served(tmp_path: Path) -> None:
    assert serving(card(Folder(tmp_path)), Folder(tmp_path)) == {}
