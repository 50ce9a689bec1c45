import hashlib
from pathlib import Path

from distill.halves import is_to_fit, is_to_measure, sha256_of_half, write_half
from evaluation.records import read_records
from tests.distill.contestants import good, poor, records, written


def test_the_halves_are_of_questions_and_the_same_for_every_student(tmp_path: Path) -> None:
    old = written(tmp_path / "old.jsonl", records(400, "s-g0", poor))
    new = written(tmp_path / "new.jsonl", records(400, "s-g1", good, 3))
    chosen = [{each.id for each in read_records(path) if is_to_fit(each)} for path in (old, new)]
    assert chosen[0] == chosen[1]
    assert 150 < len(chosen[0]) < 250
    assert not any(is_to_fit(each) and is_to_measure(each) for each in read_records(old))


def test_one_question_is_in_one_half_whatever_its_records_are_called(tmp_path: Path) -> None:
    twins = [each | {"prompt": "the same"} for each in records(50, "s-g0", poor)]
    path = written(tmp_path / "r.jsonl", twins)
    assert len({is_to_fit(each) for each in read_records(path)}) == 1


def test_records_without_a_prompt_are_cut_by_their_ids(tmp_path: Path) -> None:
    bare = [each | {"prompt": None} for each in records(50, "s-g0", poor)]
    path = written(tmp_path / "r.jsonl", bare)
    assert {is_to_fit(each) for each in read_records(path)} == {True, False}


def test_a_half_is_written_as_its_lines_stand_there(tmp_path: Path) -> None:
    path, out = written(tmp_path / "r.jsonl", records(60, "s-g0", poor)), tmp_path / "half.jsonl"
    write_half(path, out)
    lines = out.read_bytes().splitlines()
    assert [line for line in path.read_bytes().splitlines() if line in lines] == lines
    assert 0 < len(lines) < 60
    assert hashlib.sha256(out.read_bytes()).hexdigest() == sha256_of_half(path)
