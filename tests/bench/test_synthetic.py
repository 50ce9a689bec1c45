import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.__main__ import main
from bench.synthetic_data import (
    PAIRS,
    SHARES,
    TEST,
    TRAFFIC,
    draw,
    labelled,
    write_data_set,
    write_lines,
    write_questions,
)
from bench.synthetic_report import Arm, Family, Measured, measured_in, report_of
from bench.tables import tables
from tests.fakes.datasets import rows_of
from understudy.distill.files import read_data_set
from understudy.record.dataset import Manner, read_dataset


def student(arm: Arm, seed: int, right: float) -> Measured:
    families = {name: Family(30, right, 0.5, 0.4) for name in SHARES}
    return Measured(arm, seed, right, right, 0.5, 0.8, families)


def test_no_question_is_drawn_twice_and_each_part_has_its_size() -> None:
    drawn = draw(40)
    parts = (drawn.pairs, drawn.traffic, drawn.untargeted, drawn.test)
    assert [len(part) for part in parts] == [PAIRS, TRAFFIC, 40, TEST * len(SHARES)]
    asked = [each.messages[-1]["content"] for part in parts for each in part]
    assert len(set(asked)) == len(asked)
    assert all(len(each.messages) == 1 for part in parts for each in part)
    rare = [each for each in drawn.untargeted if each.task.family in ("number", "name")]
    assert len(rare) == 4


def test_the_product_reads_what_is_written(tmp_path: Path) -> None:
    drawn = draw(10)
    write_data_set(tmp_path / "pairs", drawn.pairs, drawn.test)
    read = read_data_set(tmp_path / "pairs")
    assert (len(read.parts[0].train), len(read.holdout)) == (PAIRS, len(drawn.test))
    write_questions(tmp_path / "q.jsonl", drawn.traffic)
    items = read_dataset(tmp_path / "q.jsonl", "bench", Manner(), None)
    assert len(items) == TRAFFIC


def test_records_are_labelled_by_the_checker_and_summed_up_by_kind(tmp_path: Path) -> None:
    questions = draw(10).test
    raw = tmp_path / "x.raw.jsonl"
    lines = []
    for number, each in enumerate(questions):
        # Every second order is right in another layout, all numbers are wrong.
        text = {"number": "one", "order": each.task.expected.replace(" ", "")}
        is_sure = each.task.family != "name"
        lines.append({
            "id": each.task.id,
            "group": each.task.family,
            "student": {
                "ok": False,
                "text": text.get(each.task.family, each.task.expected) if number % 2 else "?",
                "token_logprobs": [-0.001 if is_sure else -1.1] * 4,
                "top_logprobs": [[-0.001, -7.0] if is_sure else [-1.1, -1.1]] * 4,
                "end_logprob": -0.001,
                "finish_reason": "stop",
            },
            "teacher": {"ok": True},
        })  # fmt: skip
    write_lines(raw, lines)
    path = labelled(raw, questions)
    assert path.name == "x.records.jsonl"
    found = measured_in(Arm.TARGETED, 1, path)
    assert {name: each.right for name, each in found.families.items()} == {
        "date": 0.5, "order": 0.5, "number": 0.0, "name": 0.5,
    }  # fmt: skip
    assert found.right == pytest.approx(0.45 * 0.5 + 0.45 * 0.5 + 0.05 * 0.5)
    assert found.right_alike == pytest.approx(0.375)
    assert found.families["name"].escalated == 1.0
    assert found.escalated == pytest.approx(0.05)
    assert found.kept_right == pytest.approx(0.45 / 0.95)


def test_differences_are_of_the_same_seed() -> None:
    written = {
        "accepted": 40, "spent_usd": "0.01",
        "by_cluster": {"2": {"name": "in digits", "accepted": 40}},
    }  # fmt: skip
    students = [
        student(Arm.START, 0, 0.1),
        student(Arm.TARGETED, 1, 0.6), student(Arm.UNTARGETED, 1, 0.5),
        student(Arm.TARGETED, 2, 0.9), student(Arm.UNTARGETED, 2, 0.6),
    ]  # fmt: skip
    report = report_of(students, written, steps=12)
    gap = report.differences["right"]
    assert [gap.mean, gap.least, gap.most] == pytest.approx([0.2, 0.1, 0.3])
    console = Console(width=200, file=io.StringIO(), record=True)
    for each in tables(report):
        console.print(each)
    told = console.export_text()
    assert "targeted less untargeted, right: +20.0% (+10.0% to +30.0% by seed)" in told
    assert "40 like 'in digits', for 0.01 USD" in told
    assert msgspec.json.decode(msgspec.json.encode(report))["rows"] == 40


@pytest.mark.parametrize("option", ["--rows", "--seeds", "--steps"])
def test_none_is_too_few(option: str) -> None:
    with pytest.raises(SystemExit):
        main(["--scenario", "synthetic", option, "0"])


def test_a_command_that_fails_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A folder that holds something else is no place to train in.
    (tmp_path / "start-0").mkdir()
    (tmp_path / "start-0" / "mine").write_text("mine")
    status = main(["--scenario", "synthetic", "--work-dir", str(tmp_path), "--seeds", "1"])
    assert status == 1
    assert "is not empty" in capsys.readouterr().err
    assert rows_of(tmp_path / "untargeted.jsonl") == []
