import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from distill.lessons import DataFile, Lessons, read_lessons
from distill.recipe import CannotTrain


def row(id: str, answer: str = "4", **changes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "prompt": [{"role": "user", "content": "2 + 2?"}],
        "completion": [{"role": "assistant", "content": answer}],
        **changes,
    }


def preference(id: str) -> dict[str, Any]:
    told = row(id)
    return {
        **told,
        "chosen": told.pop("completion"),
        "rejected": [{"role": "assistant", "content": "5"}],
    }


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def read(*places: Path, has_preferences: bool = False) -> Lessons:
    return read_lessons(places, has_preferences=has_preferences)


def test_a_data_set_is_read_by_what_its_files_are_for(tmp_path: Path) -> None:
    train = write(tmp_path / "sft-train.jsonl", row("1"), row("2", synthetic=True))
    holdout = write(tmp_path / "sft-holdout.jsonl", row("3", synthetic=True))
    write(tmp_path / "dpo-train.jsonl", preference("4"))
    write(tmp_path / "openai-train.jsonl", {"messages": []})
    lessons = read(tmp_path)
    assert (len(lessons.train), len(lessons.holdout), len(lessons.preferences)) == (2, 1, 0)
    assert lessons.synthetic == 1
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (train, holdout)}
    assert lessons.files == [
        DataFile(str(holdout), 1, digests[holdout]),
        DataFile(str(train), 2, digests[train]),
    ]
    with_preferences = read(tmp_path, has_preferences=True)
    (learnt,) = with_preferences.preferences
    assert learnt.answer["content"] == "4"
    assert learnt.rejected is not None
    assert learnt.rejected["content"] == "5"
    assert with_preferences.sha256 != lessons.sha256


def test_what_is_held_out_anywhere_is_learnt_nowhere(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one / "sft-train.jsonl", row("1"), row("2"))
    write(two / "sft-train.jsonl", row("2"), row("3"))
    write(two / "sft-holdout.jsonl", row("1"), row("1"))
    lessons = read(one, two)
    assert len(lessons.train) == 2
    assert lessons.left_out == {"held_out": 1, "duplicate_id": 2}
    assert len(lessons.holdout) == 1


def test_rows_without_an_answer_are_counted(tmp_path: Path) -> None:
    calls = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}]
    rows = [row("1"), row("2", answer=" \n"), row("3", completion=calls)]
    lessons = read(write(tmp_path / "rows.jsonl", *rows))
    assert len(lessons.train) == 2
    assert lessons.train[1].answer["content"] == ""
    assert lessons.left_out == {"no_answer": 1}


def test_a_single_file_may_be_the_holdout(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row("1"))
    write(tmp_path / "a-holdout.jsonl", row("2"))
    lessons = read(tmp_path / "a.jsonl", tmp_path / "a-holdout.jsonl")
    assert (len(lessons.train), len(lessons.holdout)) == (1, 1)


def test_columns_that_are_null_are_not_there(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "Hi", "name": None}]
    (lesson,) = read(write(tmp_path / "a.jsonl", row("1", prompt=prompt, tools=None))).train
    assert list(lesson.prompt) == [{"role": "user", "content": "Hi"}]
    assert lesson.tools is None


@pytest.mark.parametrize("tools", [[{"type": "function"}], '[{"type": "function"}]'])
def test_tools_are_a_list_or_its_text(tmp_path: Path, tools: object) -> None:
    (lesson,) = read(write(tmp_path / "a.jsonl", row("1", tools=tools))).train
    assert lesson.tools == [{"type": "function"}]


def test_rows_need_no_id(tmp_path: Path) -> None:
    plain = row("1")
    del plain["id"]
    assert len(read(write(tmp_path / "a.jsonl", plain, plain)).train) == 2


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([], "an object"),
        (row("1", prompt=[]), "prompt is a list"),
        (row("1", prompt="Hi"), "prompt is a list"),
        (row("1", prompt=[{"role": "user", "content": [{"type": "text"}]}]), "prompt is a list"),
        (row("1", completion="4"), "completion is a list of one"),
        (row("1", completion=[]), "completion is a list of one"),
        (row("1", completion=[{"role": "user", "content": "4"}]), "said by the user"),
        (row("1", tools="no JSON"), "tools is a list"),
        ({**preference("1"), "rejected": None}, "rejected is a list of one"),
    ],
)
def test_a_row_of_another_form_is_refused_by_its_line(
    tmp_path: Path, bad: object, says: str
) -> None:
    path = write(tmp_path / "rows.jsonl", row("0"), bad)
    with pytest.raises(CannotTrain, match=says) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:2: ")


def test_what_is_no_json_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n{\n")
    with pytest.raises(CannotTrain, match=r"rows.jsonl:2: this is no JSON"):
        read(path)


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(CannotTrain, match=r"no sft-train\.jsonl"):
        read(tmp_path)
    with pytest.raises(CannotTrain, match="files are empty"):
        read(write(tmp_path / "sft-train.jsonl"))
    with pytest.raises(CannotTrain, match="no_answer 1"):
        read(write(tmp_path / "sft-train.jsonl", row("1", answer="")))
    write(tmp_path / "sft-train.jsonl", row("1"))
    with pytest.raises(CannotTrain, match="--dpo"):
        read(tmp_path, has_preferences=True)
