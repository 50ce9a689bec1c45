import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from distill.folder import Folder, mark_whole, write_file, written
from distill.recipe import CannotTrain

IDENTITY = {"data": "ab", "options": {"steps": 4, "seed": 0}}


def test_a_training_is_known_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    assert folder.take(IDENTITY) is False
    assert folder.take(IDENTITY) is True


def test_another_training_is_refused_by_what_differs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.take(IDENTITY)
    with pytest.raises(CannotTrain, match=r"another options.steps, another options.dpo:"):
        folder.take({"data": "ab", "options": {"steps": 5, "seed": 0, "dpo": True}})


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CannotTrain, match="not empty"):
        Folder(tmp_path).take(IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_training_killed_before_its_note_was_whole_begins_again(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".run.json.partial").write_text('{"da')
    assert Folder(tmp_path).take(IDENTITY) is False


def test_a_note_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run.json").write_text("[]")
    with pytest.raises(CannotTrain, match="another identity"):
        Folder(tmp_path).take(IDENTITY)


def checkpoint(folder: Folder, step: int, *, is_whole: bool) -> Path:
    path = folder.stage("sft") / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text("{}")
    if is_whole:
        mark_whole(folder.stage("sft"), step)
    return path


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.last_checkpoint("sft") is None
    checkpoint(folder, 8, is_whole=True)
    expected = checkpoint(folder, 10, is_whole=True)
    broken = checkpoint(folder, 12, is_whole=False)
    assert folder.last_checkpoint("sft") == expected
    assert not broken.exists()


def test_without_a_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    checkpoint(folder, 2, is_whole=False)
    (folder.stage("sft") / "checkpoint-x").mkdir()
    assert folder.last_checkpoint("sft") is None


def test_a_finished_training_keeps_only_what_it_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.take(IDENTITY)
    checkpoint(folder, 2, is_whole=True)
    folder.tidy()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["run.json"]


def test_the_card_says_whether_it_is_finished(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.card() is None
    write_file(tmp_path / "card.json", b'{"version": "x"}')
    assert folder.card() == {"version": "x"}


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_a_card_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(CannotTrain, match=r"card\.json"):
        Folder(tmp_path).card()


def test_what_is_written_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with suppress(KeyboardInterrupt), written(target) as beside:
        beside.mkdir()
        (beside / "half").write_text("x")
        raise KeyboardInterrupt
    assert not target.exists()
    for content in ("old", "new"):
        with written(target) as beside:
            beside.mkdir()
            (beside / "weights").write_text(content)
    assert (target / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with written(tmp_path / "adapter") as beside:
            beside.mkdir()
            (beside / "weights").touch(mode=0o600)
    finally:
        os.umask(mask)
    assert (tmp_path / "adapter" / "weights").stat().st_mode & 0o777 == 0o640


def test_an_identity_is_compared_as_json_has_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.take({"options": {"pair": (1, 2)}})
    assert folder.take({"options": {"pair": [1, 2]}}) is True
    assert json.loads((tmp_path / "checkpoints" / "run.json").read_bytes()) == {
        "options": {"pair": [1, 2]}
    }
