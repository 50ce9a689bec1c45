import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.pairing import missing_costs, pair
from evaluation.errors import EvaluationError
from tests.distill.contestants import JsonRecord, good, poor, records, written

Change = Callable[[list[JsonRecord]], Any]


def paired(tmp_path: Path, new: list[JsonRecord], old: list[JsonRecord]) -> Any:
    return pair(written(tmp_path / "new.jsonl", new), written(tmp_path / "old.jsonl", old))


def both(n: int = 40) -> tuple[list[JsonRecord], list[JsonRecord]]:
    return records(n, "s-g1", good, 2), records(n, "s-g0", poor, 1)


def test_records_are_paired_by_id_in_any_order(tmp_path: Path) -> None:
    new, old = both()
    straight = paired(tmp_path, new, old)
    random.Random(0).shuffle(new)
    found = paired(tmp_path, new, old)
    np.testing.assert_array_equal(found.candidate.student, straight.candidate.student)
    assert found.candidate.columns.ids == found.incumbent.columns.ids
    assert (found.candidate.version, found.incumbent.version) == ("s-g1", "s-g0")
    assert found.n == found.sample.questions == 40
    assert found.group_names == ("dates", "names", "riddles", "sums")


def drop(documents: list[JsonRecord]) -> None:
    del documents[3]


def change(key: str, value: Any) -> Change:
    def changed(documents: list[JsonRecord]) -> None:
        documents[5][key] = value

    return changed


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (drop, r"different records: 'q3' only in the incumbent's"),
        (change("id", "other"), r"'other' only in the candidate's; 'q5' only in the incumbent's"),
        (change("weight", 2.0), r"differ in weight of 'q5'"),
        (change("group", "else"), r"differ in group of 'q5'"),
        (change("prompt", "else"), r"differ in prompt of 'q5'"),
    ],
)
def test_what_does_not_match_is_refused_with_its_id(
    tmp_path: Path, spoilt: Change, said: str
) -> None:
    new, old = both()
    spoilt(new)
    with pytest.raises(EvaluationError, match=said):
        paired(tmp_path, new, old)


@pytest.mark.parametrize("what", ["question", "comparator", "teacher"])
def test_records_made_with_something_else_are_refused(tmp_path: Path, what: str) -> None:
    new, old = both()
    for documents, value in ((new, "a"), (old, "b")):
        documents[2]["made_with"] = {what: value, "student": value}
    with pytest.raises(EvaluationError, match=rf"made_with.{what} of 'q2'"):
        paired(tmp_path, new, old)
    new[2]["made_with"][what] = None
    assert paired(tmp_path, new, old).n == 40


def test_many_ids_are_counted(tmp_path: Path) -> None:
    new, old = both()
    with pytest.raises(EvaluationError, match=r"'q12' and 35 more only in the candidate's"):
        paired(tmp_path, new, [each | {"id": f"x{place}"} for place, each in enumerate(old)])


def test_records_of_several_students_or_of_nobody_are_refused(tmp_path: Path) -> None:
    new, old = both()
    new[0]["student"]["version"] = "s-g7"
    with pytest.raises(EvaluationError, match=r"candidate: .* several students: s-g1, s-g7"):
        paired(tmp_path, new, old)
    del new[0]["student"]["version"]
    with pytest.raises(EvaluationError, match=r"student.version is missing in 'q0'"):
        paired(tmp_path, new, old)


def test_both_have_one_teacher(tmp_path: Path) -> None:
    """The incumbent's records say what it answered, the candidate's where it was not asked."""
    new, old = both()
    old[0]["teacher"] = {"ok": True, "ok_by": "assumed"}
    new[0]["teacher"] = {"ok": False, "cost_usd": 0.5}
    old[1]["teacher"] = {"ok": 0.25, "cost_usd": 0.1}
    new[1]["teacher"] = {"ok": True, "ok_by": "assumed"}
    for documents in (new, old):
        documents[2]["teacher"] = {"ok": True, "ok_by": "assumed"}
    found = paired(tmp_path, new, old)
    assert found.teacher[:3].tolist() == [0.0, 0.25, 1.0]
    assert found.teacher_usd[:2].tolist() == [0.5, 0.1]
    assert found.assumed.tolist() == [False, False, True] + 37 * [False]
    assert list(missing_costs(found)) == ["teacher.cost_usd is missing in 'q2'"]


def test_records_of_one_question_are_one_question(tmp_path: Path) -> None:
    new, old = both()
    for documents in (new, old):
        for place in (4, 5, 6):
            documents[place]["prompt"] = "the same"
    found = paired(tmp_path, new, old)
    assert found.sample.questions == 38
    assert len(set(found.sample.question[4:7])) == 1


def test_without_prompts_each_record_is_a_question(tmp_path: Path) -> None:
    new, old = ([each | {"prompt": None} for each in documents] for documents in both())
    assert paired(tmp_path, new, old).sample.questions == 40


def test_records_without_a_group_are_a_group_beside_others(tmp_path: Path) -> None:
    new, old = both()
    for documents in (new, old):
        documents[0]["group"] = None
    assert paired(tmp_path, new, old).group_names[0] == "(none)"
    new, old = ([each | {"group": None} for each in documents] for documents in both())
    assert paired(tmp_path, new, old).group_names == ()
