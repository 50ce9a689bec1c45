import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.datasets import preference, row, rows_of, task_rows, write_data_set
from tests.fakes.upstream import Reply, ScriptedModel, tokens
from tests.understudy.distill.teaching import Bench, saying

BUDGET = ("--budget-usd", "1")
COUNTS = {"date": 3, "number": 3}


def data_set(bench: Bench) -> Path:
    rows = task_rows(1, COUNTS)
    same = preference(rows[0], rows[0]["completion"][-1]["content"] + ".")
    wrong = [preference(each, "1999") for each in rows[1:]]
    return write_data_set(bench.folder / "data", rows, dpo=[same, *wrong])


def record(told: Mapping[str, Any], draft: str | None, *, ok: bool, sure: bool = True) -> bytes:
    return msgspec.json.encode({
        "id": told["id"],
        "request": {"messages": told["prompt"]},
        "student": {
            "ok": ok,
            "text": draft,
            "token_logprobs": [-0.001 if sure else -1.1] * 4,
            "top_logprobs": [[-0.001, -7.0] if sure else [-1.1, -1.1]] * 4,
            "end_logprob": -0.001,
            "finish_reason": "stop",
        },
        "teacher": {"ok": True, "text": told["completion"][-1]["content"]},
    })  # fmt: skip


def records(bench: Bench, *lines: bytes) -> Path:
    path = bench.folder / "records.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def arguments(bench: Bench, *options: object) -> list[object]:
    return ["grade", "--config", bench.config(), "--out", bench.folder / "g.jsonl", *options]


def graded(bench: Bench, *options: object) -> dict[str, Any]:
    return bench.told(*arguments(bench, *options))


def test_drafts_of_preferences_are_judged_beside_what_was_chosen(bench: Bench) -> None:
    report = graded(bench, "--data", data_set(bench), *BUDGET)
    assert (report["grades"], report["left_over"], report["asked"]) == (6, 0, 5)
    assert report["verdicts"] == {"draft": 0, "answer": 5, "equal": 1, "undecided": 0}
    assert (report["position_consistency"], report["undecided_share"]) == (1.0, 0.0)
    assert report["first_share"] == pytest.approx(0.5)
    lines = rows_of(bench.folder / "g.jsonl")
    first, second = lines[0], lines[1]
    assert (first["verdict"], first["score"], first["orders"]) == ("equal", 0.5, [])
    assert (first["cost_usd"], second["judge"], second["rubric"]) == ("0.0", "stand-in", "grade-1")
    assert second["score"] < 0.1
    assert [order["first"] for order in second["orders"]] == ["draft", "answer"]
    spent = sum(Decimal(each["cost_usd"]) for each in lines)
    assert spent == Decimal(report["spent_usd"]) > 0
    assert report["requests"] == 2 * report["asked"]
    assert json.loads((bench.folder / "g.card.json").read_text()) == report


def test_of_records_the_kept_drafts_are_judged(bench: Bench) -> None:
    rows = task_rows(1, COUNTS)
    right = [each["completion"][-1]["content"] for each in rows]
    path = records(
        bench,
        record(rows[0], right[0], ok=True),
        record(rows[1], "1999", ok=False),
        record(rows[2], "1999", ok=False, sure=False),
        record(rows[3], None, ok=True),
        record(rows[4], right[4] + " ", ok=False),
    )
    report = graded(bench, "--records", path, *BUDGET)
    assert report["left_out"] == {"escalated": 1, "without_texts": 1}
    told = {each["id"]: each for each in rows_of(bench.folder / "g.jsonl")}
    assert {name: each["verdict"] for name, each in told.items()} == {
        rows[0]["id"]: "equal", rows[1]["id"]: "answer", rows[4]["id"]: "equal",
    }  # fmt: skip
    assert [each["ok"] for each in told.values()] == [1.0, 0.0, 0.0]
    # The judge agrees on two of three: more than chance, which gives five in nine.
    assert report["kappa_with_labels"] == pytest.approx(0.4)


def test_all_drafts_of_records_can_be_judged(bench: Bench) -> None:
    rows = task_rows(1, COUNTS)
    path = records(bench, record(rows[0], "1999", ok=False, sure=False))
    assert graded(bench, "--records", path, *BUDGET)["grades"] == 0
    (bench.folder / "g.jsonl").unlink()
    (bench.folder / "g.journal.jsonl").unlink()
    assert graded(bench, "--records", path, *BUDGET, "--all-drafts")["grades"] == 1


def test_a_record_that_has_a_prompts_text_alone_will_do(bench: Bench) -> None:
    line = {
        "id": "a",
        "prompt": "In digits: two",
        "student": {"ok": True, "text": "2"},
        "teacher": {"ok": True, "text": "3"},
    }
    path = records(bench, msgspec.json.encode(line), msgspec.json.encode({
        "id": "b", "student": {"ok": True, "text": "2"}, "teacher": {"ok": True, "text": "3"},
    }))  # fmt: skip
    report = graded(bench, "--records", path, *BUDGET, "--all-drafts")
    assert report["verdicts"]["draft"] == 1
    assert report["left_out"]["without_texts"] == 1


def test_a_judge_that_prefers_a_place_gives_no_reward(
    bench: Bench, scripted: ScriptedModel
) -> None:
    content = {"content": tokens("FIRST", logprob=-0.1)}
    scripted.reply = saying("FIRST", logprobs=content)
    report = graded(bench, "--data", data_set(bench), *BUDGET)
    assert report["position_consistency"] == 0.0
    assert report["verdicts"]["undecided"] == 5
    assert report["first_share"] == 1.0
    scores = [each["score"] for each in rows_of(bench.folder / "g.jsonl") if each["orders"]]
    assert scores == [None] * 5


def test_two_judges_are_compared(bench: Bench, scripted: ScriptedModel) -> None:
    scripted.reply = saying("EQUAL")
    data = data_set(bench)
    first = graded(bench, "--data", data, *BUDGET)
    assert first["kappa_with_another"] is None
    other = bench.folder / "other.jsonl"
    other.write_bytes((bench.folder / "g.jsonl").read_bytes())
    told = ["grade", "--config", bench.config(), "--data", data, *BUDGET, "--against", other]
    again = bench.told(*told, "--out", bench.folder / "h.jsonl")
    # Both always say the same one thing: that is chance's to explain.
    assert again["kappa_with_another"] is None
    scripted.reply = saying("no verdict")
    report = bench.told(*told, "--out", bench.folder / "i.jsonl")
    assert (report["failed"], report["left_over"], report["grades"]) == (5, 5, 1)


def test_what_was_left_is_judged_by_the_next_run(bench: Bench, scripted: ScriptedModel) -> None:
    def once_down(request: Mapping[str, Any]) -> Reply:
        return Reply({}, status=500) if len(scripted.requests) == 1 else saying("EQUAL")

    scripted.reply = once_down
    data = data_set(bench)
    assert bench.status(*arguments(bench, "--data", data, *BUDGET, "--concurrency", 1)) == 1
    assert "left over" in bench.command.output
    before = rows_of(bench.folder / "g.jsonl")
    assert len(before) == 5
    scripted.requests.clear()
    scripted.reply = saying("EQUAL")
    report = graded(bench, "--data", data, *BUDGET)
    assert (report["grades"], report["left_over"], len(scripted.requests)) == (6, 0, 2)
    after = rows_of(bench.folder / "g.jsonl")
    assert [each for each in after if each in before] == before


def test_a_budget_that_is_spent_leaves_some(bench: Bench) -> None:
    data = data_set(bench)
    report = graded(bench, "--data", data, "--max-requests", 4, "--concurrency", 1)
    assert (report["grades"], report["requests"], report["left_over"]) == (3, 4, 3)
    assert report["unfinished"] == "all of 4 requests are made"
    assert bench.status(*arguments(bench, "--data", data, "--max-requests", 4)) == 1
    assert "Not finished" in bench.command.output


def test_another_judge_does_not_go_on_with_these_grades(bench: Bench) -> None:
    data = data_set(bench)
    graded(bench, "--data", data, *BUDGET)
    told = ["grade", "--config", bench.config(version="other"), "--out", bench.folder / "g.jsonl"]
    assert bench.status(*told, "--data", data, *BUDGET) == 2
    assert "another judge" in bench.command.error


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "one of them"),
        (("--data", "a", "--records", "b"), "one of them"),
        (("--records", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--data", "nowhere"), "has no card.json"),
    ],
)
def test_what_cannot_be_graded_is_refused(
    bench: Bench, options: tuple[object, ...], why: str
) -> None:
    assert bench.status(*arguments(bench, *options, *BUDGET)) == 2
    assert why in bench.command.error


def test_a_set_without_preferences_is_refused(bench: Bench) -> None:
    data = write_data_set(bench.folder / "data", [row("a", "Hi")])
    assert bench.status(*arguments(bench, "--data", data, *BUDGET)) == 2
    assert "--format dpo" in bench.command.error


def test_a_file_that_has_no_grades_is_none_to_compare_with(bench: Bench) -> None:
    other = bench.folder / "other.jsonl"
    other.write_text('{"id": "a"}\n')
    told = arguments(bench, "--data", data_set(bench), *BUDGET, "--against", other)
    assert bench.status(*told) == 2
    assert "is no file of grades" in bench.command.error
