import json
from pathlib import Path

import pytest

from distill.folder import Folder
from distill.lessons import Lessons
from distill.lineage import Lineage
from distill.recipe import CannotTrain, Recipe
from distill.task import Source, Task, checked


def model_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def adapter_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    return folder


def task(source: Source, out: Path, recipe: Recipe | None = None, *, merge: bool = False) -> Task:
    return Task(
        source, Lessons(), recipe or Recipe(), Lineage("tiny", 1, None), Folder(out), merge, "now"
    )


def test_a_base_is_a_folder_or_a_gguf_file(tmp_path: Path) -> None:
    base = model_in(tmp_path / "base")
    file = tmp_path / "base.gguf"
    file.touch()
    for path in (base, file):
        assert checked(Source(path, None, None), Recipe()).base == path


def test_a_base_that_is_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    for base, says in (
        (Path("Qwen/Qwen3-4B"), "hf download Qwen/Qwen3-4B --local-dir Qwen3-4B"),
        (tmp_path / "weights.bin", "a folder of a model, or a .gguf file"),
        (tmp_path, "no config.json"),
    ):
        with pytest.raises(CannotTrain, match=says):
            checked(Source(base, None, None), Recipe())


def test_a_parent_is_an_adapter_and_has_its_own_rank(tmp_path: Path) -> None:
    base, parent = model_in(tmp_path / "base"), adapter_in(tmp_path / "adapter")
    source = Source(base, parent, None)
    assert checked(source, Recipe()).parent == parent
    for recipe, says in (
        (Recipe(full=True), "merged/ as --base"),
        (Recipe(rank=4), "are the parent's"),
        (Recipe(alpha=4), "are the parent's"),
    ):
        with pytest.raises(CannotTrain, match=says):
            checked(source, recipe)
    with pytest.raises(CannotTrain, match=r"no adapter_config\.json"):
        checked(Source(base, base, None), Recipe())


def test_a_template_has_to_be_there(tmp_path: Path) -> None:
    source = Source(model_in(tmp_path / "base"), None, tmp_path / "base.gguf")
    with pytest.raises(CannotTrain, match="no such file"):
        checked(source, Recipe())


def test_another_parent_or_base_is_another_training(tmp_path: Path) -> None:
    base, parent = model_in(tmp_path / "base"), adapter_in(tmp_path / "adapter")
    before = task(Source(base, parent, None), tmp_path).identity()
    assert json.loads(json.dumps(before)) == before
    (parent / "adapter_model.safetensors").write_bytes(b"changed")
    assert task(Source(base, parent, None), tmp_path).identity()["parent"] != before["parent"]
    (base / "model.safetensors").write_bytes(b"longer weights")
    assert task(Source(base, None, None), tmp_path).identity()["base"] != before["base"]
    assert task(Source(base, None, None), tmp_path).identity()["parent"] is None


def test_what_is_missing_is_what_was_wished_and_is_not_there(tmp_path: Path) -> None:
    base, out = tmp_path / "base.gguf", tmp_path / "out"
    base.touch()
    plain, rich = Source(base, None, None), Source(base, None, base)
    assert task(plain, out).missing() == ["adapter"]
    assert task(rich, out, merge=True).missing() == ["adapter", "merged", "gguf"]
    assert task(plain, out, Recipe(full=True)).missing() == ["merged"]
    (out / "adapter").mkdir(parents=True)
    assert task(plain, out).missing() == []
