import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.record import dataset
from understudy.record.dataset import DatasetError, Item, Manner, read_dataset


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "d.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def one(folder: Path, line: dict[str, Any], manner: Manner | None = None) -> Item:
    (item,) = read_dataset(write(folder, line), "assistant", manner or Manner())
    return item


def request_of(item: Item) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(item.chat.body)
    return read


@pytest.mark.parametrize("form", ["prompt", "question", "text"])
def test_words_become_a_greedy_request(tmp_path: Path, form: str) -> None:
    item = one(tmp_path, {form: "Who?", "answer": 7})
    assert request_of(item) == {
        "model": "assistant",
        "messages": [{"role": "user", "content": "Who?"}],
        "temperature": 0.0,
        "max_tokens": 256,
    }
    assert (item.id, item.prompt, item.gold, item.group) == ("1", "Who?", ("7",), None)
    assert item.question.text == "Who?"


def test_choices_become_lettered_options(tmp_path: Path) -> None:
    item = one(tmp_path, {"text": "i am glad", "choices": ["Sadness", "Joy"], "answer": "B"})
    asked = request_of(item)
    content = asked["messages"][0]["content"]
    assert content.startswith("i am glad\n\nA. Sadness\nB. Joy\n\nAnswer with the letter")
    assert asked["max_tokens"] == 16
    assert item.gold == ("B", "Joy", "B. Joy", "B) Joy")
    assert item.question.choices == ("Sadness", "Joy")


def test_an_option_may_be_named_by_its_text(tmp_path: Path) -> None:
    item = one(tmp_path, {"text": "x", "choices": ["Sadness", "Joy"], "answer": "joy"})
    assert item.gold[0] == "B"


def test_an_instruction_goes_before_words_alone(tmp_path: Path) -> None:
    manner = Manner("Be brief.", temperature=0.7, max_tokens=5)
    asked = request_of(one(tmp_path, {"question": "Who?"}, manner))
    assert asked["messages"] == [{"role": "user", "content": "Be brief.\n\nWho?"}]
    assert (asked["temperature"], asked["max_tokens"]) == (0.7, 5)
    messages = [{"role": "user", "content": "Who?"}]
    assert request_of(one(tmp_path, {"messages": messages}, manner))["messages"] == messages


def test_a_request_stays_as_it_is_but_for_its_model_and_stream(tmp_path: Path) -> None:
    request = {
        "model": "other",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}],
        "top_p": 0.9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    item = one(tmp_path, {"id": 3, "request": request, "group": "g"})
    assert request_of(item) == {
        "model": "assistant",
        "messages": request["messages"],
        "top_p": 0.9,
    }
    assert (item.id, item.group, item.prompt, item.gold) == ("3", "g", None, ())
    assert item.question.text == "Who?"


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("Paris", ("Paris",)),
        (["Paris", "Paname"], ("Paris", "Paname")),
        (True, ("true", "yes")),
        (False, ("false", "no")),
        (1.5, ("1.5",)),
        ([], ()),
        (None, ()),
    ],
)
def test_right_answers_come_in_several_forms(
    tmp_path: Path, answer: Any, gold: tuple[str, ...]
) -> None:
    assert one(tmp_path, {"prompt": "x", "answer": answer}).gold == gold


def test_a_packed_file_is_read_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "a"}\n\n{"prompt": "b"}\n{"prompt": "c"}\n'))
    items = read_dataset(path, "assistant", Manner(), limit=2)
    assert [(item.id, item.prompt) for item in items] == [("1", "a"), ("3", "b")]


def test_the_digest_changes_with_what_is_asked_and_expected(tmp_path: Path) -> None:
    line = {"prompt": "a", "answer": "b", "group": "g"}
    changes: list[dict[str, Any]] = [{}, {"prompt": "b"}, {"answer": "c"}, {"group": "h"}]
    changes.append({"choices": ["b", "c"]})
    digests = {one(tmp_path, line | change).digest for change in changes}
    assert len(digests) == len(changes)
    assert one(tmp_path, line | {"id": "other"}).digest in digests


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({}, "it has none"),
        ({"prompt": "a", "text": "b"}, "it has prompt and text"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "a", "choices": ["x", "y"], "answer": "C"}, "neither a letter nor one"),
        ({"prompt": "a", "choices": ["x", "x"], "answer": "x"}, "neither a letter nor one"),
        ({"prompt": "a", "choices": ["x"] * 27}, "27 choices"),
        ({"messages": []}, "messages"),
        ({"request": {"messages": [{"role": "user"}], "n": 2}}, "ask for one"),
        ({"request": {"messages": [{"role": "user"}], "api_key": "x"}}, "api_key"),
        ([], "object"),
    ],
)
def test_a_line_that_cannot_be_asked_is_named(tmp_path: Path, line: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=r"d\.jsonl, line 2: ") as caught:
        read_dataset(write(tmp_path, {"prompt": "x"}, line), "assistant", Manner())
    assert words in str(caught.value)


def test_an_id_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"})
    with pytest.raises(DatasetError, match="line 2: the id 'a' stands in line 1 too"):
        read_dataset(path, "assistant", Manner())


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_dataset(tmp_path / "none", "assistant", Manner())
    with pytest.raises(DatasetError, match="holds no question"):
        read_dataset(write(tmp_path), "assistant", Manner())
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b'{"prompt": "a"}\n')[:-4])
    with pytest.raises(DatasetError, match="cannot be read"):
        read_dataset(tmp_path / "broken.gz", "assistant", Manner())
    monkeypatch.setattr(dataset, "MAX_LINE_BYTES", 10)
    with pytest.raises(DatasetError, match="longer than 10 bytes"):
        read_dataset(write(tmp_path, {"prompt": "long"}), "assistant", Manner())
