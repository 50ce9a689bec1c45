import hashlib
import json
from pathlib import Path

import pytest

from distill.lineage import Lineage, base_name, lineage_of, sha256_of, tidied
from distill.recipe import CannotTrain


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("qwen-0.5b-q8_0.gguf", "qwen-0.5b"),
        ("/m/Model-IQ4_XS.gguf", "model"),
        ("/m/Model-BF16.gguf", "model"),
        ("/models/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b-instruct"),
        ("/c/models--Qwen--Qwen3-4B/snapshots/0a1b2c3d", "qwen3-4b"),
        ("/models/My model (new)", "my-model-new"),
    ],
)
def test_a_base_is_named_by_its_path(path: str, name: str) -> None:
    assert base_name(Path(path)) == name


def test_a_name_needs_something_to_say() -> None:
    with pytest.raises(CannotTrain, match="letters or digits"):
        tidied("???")


def test_a_version_tells_name_generation_and_weights() -> None:
    version = Lineage("smollm2-135m-instruct", 2, None).version("3f9c01ab77de" + "0" * 52)
    assert version == "smollm2-135m-instruct-g2-3f9c01ab77de"


def trained(folder: Path, **card: object) -> Path:
    (folder / "adapter").mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card))
    return folder / "adapter"


def test_the_first_generation_comes_of_a_base_alone(tmp_path: Path) -> None:
    base = tmp_path / "Tiny"
    assert lineage_of(base, None, name=None, generation=None) == Lineage("tiny", 1, None)
    assert lineage_of(base, None, name="Mine", generation=7) == Lineage("mine", 7, None)


def test_a_generation_follows_its_parents(tmp_path: Path) -> None:
    parent = trained(tmp_path / "one", name="tiny", generation=3, version="tiny-g3-00")
    base = tmp_path / "other"
    assert lineage_of(base, parent, name=None, generation=None) == Lineage("tiny", 4, "tiny-g3-00")
    assert lineage_of(base, parent, name="x", generation=9) == Lineage("x", 9, "tiny-g3-00")
    with pytest.raises(CannotTrain, match="generation 3 already"):
        lineage_of(base, parent, name=None, generation=3)


def test_a_merged_base_is_a_parent_too(tmp_path: Path) -> None:
    trained(tmp_path / "one", name="tiny", generation=1, version="tiny-g1-00")
    base = tmp_path / "one" / "merged"
    assert lineage_of(base, None, name=None, generation=None) == Lineage("tiny", 2, "tiny-g1-00")


@pytest.mark.parametrize("card", [None, "no JSON", "{}", "[]"])
def test_a_parent_without_a_card_needs_to_be_told(tmp_path: Path, card: str | None) -> None:
    parent = tmp_path / "adapter"
    if card is not None:
        (tmp_path / "card.json").write_text(card)
    with pytest.raises(CannotTrain, match="say --generation"):
        lineage_of(tmp_path / "tiny", parent, name=None, generation=None)
    assert lineage_of(tmp_path / "tiny", parent, name=None, generation=2).generation == 2


def test_a_hash_is_that_of_the_file_or_of_all_files(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    first, second = (hashlib.sha256(each).hexdigest() for each in (b"1", b"2"))
    assert sha256_of([one]) == first
    listed = f"{first}  a\n{second}  b\n".encode()
    assert sha256_of([two, one]) == hashlib.sha256(listed).hexdigest()
