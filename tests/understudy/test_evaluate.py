import gzip
import json
from pathlib import Path

import pytest

from tests.evaluation.made import answers, prompts_alone, written
from tests.evaluation.test_applied import document_of
from understudy.evaluate import CANNOT_EVALUATE, evaluate

KEYS = ("apgr", "auroc", "ece", "cpt50", "cpt80", "cpt95", "saved95", "saved99")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    documents = list(answers(120, teacher=0.9))
    for each in documents[:20]:
        each["teacher"]["again"] = {"agrees": each["group"] == "easy"}
    return written(tmp_path / "records.jsonl", documents)


def test_json_is_one_object_with_the_documented_keys(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(records, json=True, rounds=10, folds=3) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0.0 < found["student_quality"] < found["teacher_quality"] < 1.0
    for name in ("always_student", "always_teacher", "random", "learnt", "learnt_pre", "oracle"):
        assert set(KEYS) <= set(found["methods"][name])
    assert found["teacher_disagrees_with_itself"] == {"share": 0.5, "records": 20}


def test_the_same_seed_gives_the_same_numbers(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for seed in (1, 1, 2):
        assert evaluate(records, json=True, rounds=2, folds=2, seed=seed) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


def test_a_table_and_a_folder_of_pictures(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(document_of(list(answers(200, teacher=0.9)), 0.5)))
    out = tmp_path / "made" / "here"
    assert evaluate(records, out=out, policy=policy, rounds=5, folds=2) == 0
    said = capsys.readouterr().out
    for words in (
        "signal:mean_probability",
        "learnt_pre",
        "The policy keeps",
        "asked twice",
        "APGR",
    ):
        assert words in said
    for name in ("curves", "reliability"):
        for kind in ("png", "svg", "json"):
            assert (out / f"{name}.{kind}").stat().st_size > 500
    page = (out / "results.md").read_text()
    assert "| `learnt` |" in page
    assert json.loads((out / "results.json").read_text())["methods"]["policy"]["apgr"] is not None


def test_prompts_alone_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = written(tmp_path / "r.jsonl", prompts_alone(120))
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert evaluate(packed, rounds=3, folds=2, out=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "pre_generation" in said
    assert "learnt" not in said


def test_undefined_measures_are_null_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = written(tmp_path / "r.jsonl", answers(60, teacher=0.0))
    assert evaluate(records, rounds=3, folds=2, json=True) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["methods"]["learnt"]["apgr"] is None
    assert "not better than the student" in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no record"),
        ("{}\n", "line 1"),
        ('{"id": "a", "student": {"ok": 2}, "teacher": {"ok": 1}}\n', "student.ok"),
        ('{"id": "a", "student": {"ok": 1}, "teacher": {"ok": 1}}\n', "folds"),
    ],
)
def test_bad_records_end_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    assert evaluate(path, json=True) == CANNOT_EVALUATE
    said = capsys.readouterr()
    assert words in said.err
    assert not said.out


def test_files_that_are_not_there_or_cannot_be_written(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "none.jsonl") == CANNOT_EVALUATE
    assert evaluate(records, policy=tmp_path / "none.json") == CANNOT_EVALUATE
    (tmp_path / "policy.json").write_text("{}")
    assert evaluate(records, policy=tmp_path / "policy.json") == CANNOT_EVALUATE
    (tmp_path / "file").write_text("")
    assert evaluate(records, rounds=2, folds=2, out=tmp_path / "file") == CANNOT_EVALUATE
    assert "Cannot write" in capsys.readouterr().err
