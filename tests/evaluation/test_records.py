import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from evaluation import records
from evaluation.errors import RecordError
from evaluation.records import (
    MAX_LINE_BYTES,
    NO_GROUP,
    Record,
    columns_of,
    draft_of,
    earlier_kept_in,
    read_records,
    signals_in,
)
from evaluation.source import prefix_of
from routing import Draft, signals_of

LEAST: dict[str, object] = {"id": "q1", "student": {"ok": True}, "teacher": {"ok": 1}}
FULL: dict[str, object] = {
    "id": "q2",
    "group": "mmlu",
    "prompt": "2 + 2?",
    "request": {"model": "m", "messages": []},
    "weight": 2.5,
    "student": {
        "text": "4.",
        "tokens": ["4", ".", "<end>"],
        "token_logprobs": [-0.1, -0.7, -9.0],
        "top_logprobs": [[-0.1, -3.0], [-0.7, -0.9], [-9.0, -0.1]],
        "answer_span": [0, 2],
        "signals": {"p_true": 0.4, "fits": True, "absent": None},
        "finish_reason": "stop",
        "complete": True,
        "version": "s1",
        "usage": {"prompt_tokens": 3},
        "ok": 0.5,
        "cost_usd": 0.0001,
    },
    "teacher": {"text": "4", "ok": 1.0, "cost_usd": 0.002, "unheard_of": [1]},
}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def with_student(**changes: object) -> dict[str, object]:
    return {**LEAST, "student": {"ok": 1, **changes}}


def one(tmp_path: Path, line: object) -> Record:
    (record,) = read_records(write(tmp_path / "r.jsonl", line))
    return record


def test_id_and_both_ok_suffice(tmp_path: Path) -> None:
    record = one(tmp_path, LEAST)
    assert (record.id, record.student.ok, record.teacher.ok) == ("q1", True, 1.0)
    assert record.weight is None
    assert signals_in(record) == {}


def test_every_part_is_read_and_what_is_unknown_skipped(tmp_path: Path) -> None:
    record = one(tmp_path, FULL)
    assert record.group == "mmlu"
    assert record.request == {"model": "m", "messages": []}
    assert record.student.top_logprobs == ((-0.1, -3.0), (-0.7, -0.9), (-9.0, -0.1))
    assert record.teacher.cost_usd == 0.002


def test_signals_are_those_of_the_answers_span_and_the_records_own(tmp_path: Path) -> None:
    record = one(tmp_path, FULL)
    draft = Draft(
        token_logprobs=(-0.1, -0.7),
        best_logprobs=(-0.1, -0.7),
        second_logprobs=(-3.0, -0.9),
        text="4.",
        finish_reason="stop",
        end_logprob=-9.0,
    )
    assert draft_of(record.student) == draft
    own = {"evidence:p_true": 0.4, "evidence:fits": 1.0}
    assert signals_in(record) == {**signals_of(draft), **own}


def test_beginning_of_a_draft_has_the_candidates_of_its_own_places(tmp_path: Path) -> None:
    rows = [[-9.0, -9.5], [-0.1, -3.0], [-0.2], [-0.3, -2.0], [-0.4, -2.5]]
    logprobs, span = [-9.0, -0.1, -0.2, -0.3, -0.4], [1, 4]
    told = with_student(token_logprobs=logprobs, top_logprobs=rows, answer_span=span, text="4.")
    student = one(tmp_path, told).student
    assert prefix_of(student, 1) == Draft((-0.1,), (-0.1,), (-3.0,))
    assert prefix_of(student, 2) == Draft((-0.1, -0.2), (-0.1, -0.2), (-3.0,))
    every = Draft((-0.1, -0.2, -0.3), (-0.1, -0.2, -0.3), (-3.0, -2.0))
    assert prefix_of(student, 3) == prefix_of(student, 8) == every


@pytest.mark.parametrize(
    ("changes", "end_logprob"),
    [({}, -9.0), ({"finish_reason": "length"}, None), ({"answer_span": [0, 3]}, None)],
)
def test_token_behind_the_answer_ended_it_unless_it_was_cut_short(
    tmp_path: Path, changes: dict[str, object], end_logprob: float | None
) -> None:
    assert isinstance(FULL["student"], dict)
    record = one(tmp_path, {**FULL, "student": {**FULL["student"], **changes}})
    assert draft_of(record.student).end_logprob == end_logprob


def test_what_routing_computes_wins_over_the_records_word(tmp_path: Path) -> None:
    brought = {"mean_probability": 0.9}
    assert signals_in(one(tmp_path, with_student(signals=brought))) == brought
    record = one(tmp_path, with_student(signals=brought, token_logprobs=[-1.0]))
    assert signals_in(record)["mean_probability"] == pytest.approx(math.exp(-1.0))


def test_agreement_is_evidence_where_the_record_says_of_how_many_drafts(tmp_path: Path) -> None:
    told: dict[str, object] = {"signals": {"agreement": 2 / 3}}
    record = one(tmp_path, with_student(samples=3, **told))
    assert draft_of(record.student) == Draft(agreement=2 / 3)
    assert signals_in(record) == {"agreement": 2 / 3}
    assert draft_of(one(tmp_path, with_student(**told)).student) == Draft()
    assert draft_of(one(tmp_path, with_student(samples=1, **told)).student) == Draft()
    assert draft_of(one(tmp_path, with_student(samples=3)).student) == Draft()


def test_record_says_what_earlier_turns_came_to(tmp_path: Path) -> None:
    told = one(tmp_path, with_student(signals={"earlier_kept": 0.25}))
    assert earlier_kept_in(told.student) == 0.25
    assert signals_in(told) == {"earlier_kept": 0.25}
    assert draft_of(told.student) == Draft()
    assert earlier_kept_in(one(tmp_path, with_student()).student) is None
    absurd = one(tmp_path, with_student(signals={"earlier_kept": 1.5}))
    assert earlier_kept_in(absurd.student) is None
    assert signals_in(absurd) == {"evidence:earlier_kept": 1.5}


def test_unreported_log_probability_leaves_no_token_evidence(tmp_path: Path) -> None:
    record = one(tmp_path, with_student(token_logprobs=[-0.1, None], top_logprobs=[[-0.1], None]))
    assert signals_in(record) == {}


def test_pythons_own_infinity_is_read(tmp_path: Path) -> None:
    record = one(tmp_path, with_student(token_logprobs=[-math.inf, 0.0]))
    assert record.student.token_logprobs == (-math.inf, 0.0)
    assert signals_in(record)["min_probability"] == 0.0


def test_gzip_byte_order_mark_and_blank_lines_are_taken(tmp_path: Path) -> None:
    text = f"\ufeff{json.dumps(LEAST)}\n\n  \n{json.dumps(FULL)}".encode()
    plain = tmp_path / "plain"
    plain.write_bytes(text)
    packed = tmp_path / "packed"  # the name says nothing: the content does
    packed.write_bytes(gzip.compress(text))
    assert list(read_records(plain)) == list(read_records(packed))
    assert [record.id for record in read_records(packed)] == ["q1", "q2"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (with_student(samples=0), "student.samples: must be at least 1, got 0"),
        ({"student": {"ok": 1}, "teacher": {"ok": 1}}, "id: is missing"),
        ({"id": "a", "student": {}, "teacher": {"ok": 1}}, "student.ok: is missing"),
        ({"id": "a", "student": {"ok": 1}}, "teacher: is missing"),
        ({"id": "a", "student": {"ok": "yes"}, "teacher": {"ok": 1}}, "student.ok: expected"),
        ({"id": "a", "student": {"ok": 1}, "teacher": {"ok": 1.5}}, "teacher.ok: must lie in [0,"),
        ({"id": "a", "student": {"ok": math.nan}, "teacher": {"ok": 1}}, "student.ok: must lie in"),
        ({**LEAST, "id": ""}, "id: must not be empty"),
        ({**LEAST, "id": 7}, "id: expected `str`"),
        ({**LEAST, "weight": 0}, "weight: must be positive"),
        ({**LEAST, "weight": math.inf}, "weight: must be positive"),
        ({**LEAST, "weight": 9e-13}, "weight: must be positive, from 1e-12 to 1e+12, got 9e-13"),
        ({**LEAST, "weight": 2e12}, "weight: must be positive, from 1e-12 to 1e+12"),
        (with_student(cost_usd=-1.0), "student.cost_usd: must be at least 0"),
        (with_student(token_logprobs=["a"]), "student.token_logprobs[0]: expected"),
        (with_student(tokens=["a"], token_logprobs=[-1, -2]), "student.token_logprobs: has 2"),
        (with_student(token_logprobs=[-1], top_logprobs=[[-1], [-1]]), "student.top_logprobs: has"),
        (with_student(top_logprobs=[[-1]]), "student.top_logprobs: has 1 rows for 0"),
        (with_student(token_logprobs=[-1], answer_span=[0, 2]), "student.answer_span: must be"),
        (with_student(token_logprobs=[-1], answer_span=[1, 0]), "student.answer_span: must be"),
        (with_student(answer_span=[-1, 0]), "student.answer_span: must be"),
        (with_student(signals={"a": math.nan}), "student.signals.a: must be finite"),
        (with_student(signals={"a": -1.7976931348623157e308}), "student.signals.a: must be finite"),
        (with_student(signals={"a": "b"}), "student.signals"),
        ([], "record: expected `object`"),
    ],
)
def test_fault_names_file_line_and_key(tmp_path: Path, line: object, said: str) -> None:
    path = write(tmp_path / "r.jsonl", {**LEAST, "id": "fine"}, line)
    with pytest.raises(RecordError) as caught:
        list(read_records(path))
    assert str(caught.value).startswith(f"{path}, line 2, {said}")


@pytest.mark.parametrize(
    "text", ["{", "nonsense", json.dumps(LEAST) + " {}", '{"request": ' + "[" * 100_000, "\xff"]
)
def test_what_is_not_json_names_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match=r"line 1: is not JSON"):
        list(read_records(path))


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", LEAST, FULL, LEAST)
    with pytest.raises(RecordError, match=r"line 3, id: 'q1' stands in line 1 already"):
        list(read_records(path))


def test_file_without_records_absent_or_broken_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n\n")
    with pytest.raises(RecordError, match="holds no record"):
        list(read_records(empty))
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_records(tmp_path / "absent"))
    cut = tmp_path / "cut"
    cut.write_bytes(gzip.compress(json.dumps(FULL).encode())[:-9])
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_records(cut))


def test_a_line_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r.jsonl", LEAST)
    length = len(path.read_bytes())
    monkeypatch.setattr(records, "MAX_LINE_BYTES", length)
    assert len(list(read_records(path))) == 1
    monkeypatch.setattr(records, "MAX_LINE_BYTES", length - 1)
    with pytest.raises(RecordError, match="line 1: is longer than"):
        list(read_records(path))
    assert MAX_LINE_BYTES == 16 * 2**20


def test_columns_hold_numbers_and_nan_for_what_is_absent(tmp_path: Path) -> None:
    third = {**with_student(signals={"late": 1.0}), "id": "q3"}
    columns = columns_of(read_records(write(tmp_path / "r.jsonl", LEAST, FULL, third)))
    assert columns.n == 3
    assert columns.ids == ("q1", "q2", "q3")
    assert columns.group_names == ("mmlu",)
    assert columns.group.tolist() == [NO_GROUP, 0, NO_GROUP]
    assert columns.outcomes.student.tolist() == [1.0, 0.5, 1.0]
    assert columns.outcomes.teacher.tolist() == [1.0, 1.0, 1.0]
    assert columns.outcomes.weight.tolist() == [1.0, 2.5, 1.0]
    np.testing.assert_array_equal(columns.signals["evidence:p_true"], [np.nan, 0.4, np.nan])
    np.testing.assert_array_equal(columns.signals["evidence:late"], [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(columns.student_usd, [np.nan, 0.0001, np.nan])
    np.testing.assert_array_equal(columns.teacher_usd, [np.nan, 0.002, np.nan])
    assert columns.versions == {"s1"}
    assert list(columns.signals) == sorted(columns.signals)

    part = columns.take(np.array([False, True, True]))
    assert part.ids == ("q2", "q3")
    assert part.outcomes.weight.tolist() == [2.5, 1.0]
    np.testing.assert_array_equal(part.signals["evidence:late"], [np.nan, 1.0])


def test_another_reading_of_the_evidence_can_be_handed_in(tmp_path: Path) -> None:
    def length(record: Record) -> Mapping[str, float]:
        return {"length": float(len(record.student.tokens or ()))}

    columns = columns_of(read_records(write(tmp_path / "r.jsonl", FULL)), length)
    assert {name: values.tolist() for name, values in columns.signals.items()} == {"length": [3.0]}
