"""The whole command against servers that do as they are told."""

import errno
import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from evaluation.records import Record, draft_of, read_records
from gateway.wire.chat import parse_chat
from gateway.wire.completion import drafts_of, read_completion
from tests.fakes.serving import cascade_document, closed_port_url, serving
from tests.fakes.upstream import Reply, ScriptedModel, completion, tokens
from understudy.line_file import LineFile
from understudy.record import run
from understudy.record.command import CANNOT_START, INTERRUPTED, UNFINISHED, record

Answer = Callable[[Mapping[str, Any]], Reply]
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima"}
QUESTIONS = [{"id": country, "question": f"Capital of {country}?"} for country in CAPITALS]
KNOWN = [line | {"answer": CAPITALS[line["id"]]} for line in QUESTIONS]


def country_in(request: Mapping[str, Any]) -> str:
    asked = request["messages"][-1]["content"]
    return next(country for country in CAPITALS if country in asked)


def knows_all(request: Mapping[str, Any]) -> Reply:
    return Reply(completion(f"{CAPITALS[country_in(request)]}."))


def knows_but(*unknown: str) -> Answer:
    def answer(request: Mapping[str, Any]) -> Reply:
        country = country_in(request)
        return Reply(completion("Oslo", -1.0)) if country in unknown else knows_all(request)

    return answer


@dataclass
class Desk:
    """Two scripted models, their configuration, and the command on them."""

    folder: Path
    document: dict[str, Any]
    student: ScriptedModel
    teacher: ScriptedModel
    said: pytest.CaptureFixture[str]
    err: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "r.jsonl"

    def run(self, lines: Sequence[Mapping[str, Any]], **options: Any) -> int:
        """Write data set and configuration, run the command; its status."""
        config, dataset = self.folder / "c.yaml", self.folder / "d.jsonl"
        config.write_text(yaml.safe_dump({"cascades": {"assistant": self.document}}))
        dataset.write_text("".join(json.dumps(line) + "\n" for line in lines))
        given: dict[str, Any] = {
            "dataset": dataset,
            "config": config,
            "out": self.out,
            "as_json": True,
        }
        status = record(**(given | options))
        told = self.said.readouterr()
        self.err, self.summary = told.err, json.loads(told.out) if told.out else {}
        return status

    def records(self) -> dict[str, Record]:
        return {each.id: each for each in read_records(self.out)}

    def raw(self) -> dict[str, dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.read_text().splitlines()]
        return {line["id"]: line for line in lines}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    student, teacher = ScriptedModel(), ScriptedModel()
    student.reply, teacher.reply = knows_but("Peru"), knows_all
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(model)) for model in (student, teacher)]
        yield Desk(tmp_path, cascade_document(*urls), student, teacher, capsys)


def test_known_answers_say_what_is_acceptable(desk: Desk) -> None:
    desk.teacher.reply = knows_but("Spain")
    assert desk.run(KNOWN) == 0
    records = desk.records()
    assert {name: each.student.ok for name, each in records.items()} == {
        "France": True, "Italy": True, "Spain": True, "Peru": False,
    }  # fmt: skip
    assert [name for name, each in records.items() if not each.teacher.ok] == ["Spain"]
    raw = desk.raw()["Peru"]
    assert (raw["ok_by"], raw["gold"], raw["student"]["score"]) == ("gold", ["Lima"], 0.0)
    assert raw["prompt"] == "Capital of Peru?"
    assert raw["request"]["model"] == "assistant"
    assert desk.summary["student_quality"] == 0.75
    assert desk.summary["teacher_quality"] == 0.75
    assert (desk.summary["records"], desk.summary["left_over"]) == (4, 0)


def test_without_them_the_teacher_does(desk: Desk) -> None:
    assert desk.run(QUESTIONS) == 0
    raw = desk.raw()
    assert {each["ok_by"] for each in raw.values()} == {"teacher"}
    assert [name for name, each in raw.items() if not each["student"]["ok"]] == ["Peru"]
    assert all(each["teacher"]["ok"] for each in raw.values())


def test_without_a_teacher_it_is_taken_to_be_right_and_that_is_said(desk: Desk) -> None:
    assert desk.run(KNOWN, teacher=False) == 0
    assert desk.teacher.requests == []
    assert {json.dumps(each["teacher"]) for each in desk.raw().values()} == {
        '{"ok": 1.0, "ok_by": "assumed"}'
    }
    assert desk.summary["assumed_teachers"] == 4


def test_the_evidence_is_what_the_gateway_sees(desk: Desk) -> None:
    entries = tokens("Par", "is", logprob=-0.25) + tokens("<end>", logprob=-0.5)
    body = completion("Paris", choice={"logprobs": {"content": entries}})
    desk.student.reply = Reply(body)
    assert desk.run(KNOWN[:1]) == 0
    (found,) = desk.records().values()
    raw = desk.raw()["France"]["student"]
    assert raw["tokens"] == ["Par", "is", "<end>"]
    assert (raw["answer_span"], raw["end_logprob"]) == ([0, 2], -0.5)
    assert raw["usage"] == {"prompt_tokens": 100, "completion_tokens": 10}
    assert raw["cost_usd"] == pytest.approx((100 * 0.02 + 10 * 0.06) / 1e6)
    assert raw["version"] == "student-1"
    assert (raw["finish_reason"], raw["complete"]) == ("stop", True)
    chat = parse_chat(json.dumps(found.request).encode())
    (draft,) = drafts_of(read_completion(json.dumps(body).encode()), chat)
    seen = draft_of(found.student)
    assert seen.token_logprobs == draft.token_logprobs
    assert seen.best_logprobs == draft.best_logprobs
    assert seen.second_logprobs == draft.second_logprobs
    # And it was asked for as the gateway asks.
    assert desk.student.requests[0]["top_logprobs"] == 2
    assert "logprobs" not in desk.teacher.requests[0]


def test_reasoning_is_kept_and_lies_outside_the_answer(desk: Desk) -> None:
    entries = tokens("Hm", "so", "Paris", "<end>")
    desk.student.reply = Reply(
        completion(
            "Paris", message={"reasoning": "Hmso"}, choice={"logprobs": {"content": entries}}
        )
    )
    assert desk.run(KNOWN[:1]) == 0
    assert desk.raw()["France"]["student"]["answer_span"] == [2, 3]


def test_a_draft_without_log_probabilities_is_counted(desk: Desk) -> None:
    desk.student.reply = Reply(completion("Paris", choice={"logprobs": None}))
    assert desk.run(KNOWN[:1]) == 0
    assert "tokens" not in desk.raw()["France"]["student"]
    assert desk.summary["without_evidence"] == 1


def test_an_empty_answer_is_one_too(desk: Desk) -> None:
    body = completion("", choice={"logprobs": {"content": tokens("<end>")}}, usage=None)
    desk.student.reply = Reply(body)
    assert desk.run(KNOWN[:1]) == 0
    raw = desk.raw()["France"]["student"]
    assert (raw["text"], raw["answer_span"], raw["ok"]) == ("", [0, 0], False)
    assert "cost_usd" not in raw
    assert desk.summary["spent_usd"] is None


def test_calls_are_answers_too(desk: Desk) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    broken = {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{"}}
    message = {"content": None, "tool_calls": [call, broken]}
    body = completion(None, message=message, choice={"finish_reason": "tool_calls"})
    desk.student.reply = desk.teacher.reply = Reply(body)
    desk.document["comparator"] = {"kind": "json"}
    assert desk.run(QUESTIONS[:1]) == 0
    raw = desk.raw()["France"]["student"]
    assert json.loads(raw["text"]) == [
        {"name": "f", "arguments": {"a": 1}},
        {"name": "g", "arguments": "{"},
    ]
    assert raw["ok"]
    assert raw["structure"] == "invalid"


def test_sampling_is_stored_as_the_model_got_it(desk: Desk) -> None:
    desk.document["student"]["extra_body"] = {"temperature": 0.5, "top_k": 4}
    assert desk.run(KNOWN[:1]) == 0
    raw = desk.raw()["France"]
    assert raw["student"]["sampling"] == {"temperature": 0.5, "top_k": 4, "max_tokens": 256}
    assert raw["teacher"]["sampling"] == {"temperature": 0.0, "max_tokens": 256}


def several(*texts: str) -> Reply:
    """A choice for each text, two tokens each."""
    choices = [
        completion(
            choice={"index": place, "logprobs": {"content": tokens(text, "<end>")}},
            message={"content": text},
        )["choices"][0]
        for place, text in enumerate(texts)
    ]
    return Reply(completion(choices=choices, usage={"prompt_tokens": 100, "completion_tokens": 6}))


def test_of_several_drafts_the_one_is_kept_that_most_agree_with(desk: Desk) -> None:
    desk.document["samples"] = 3
    desk.student.reply = several("Rome", "Paris", "Paris.")
    assert desk.run(KNOWN[:1], temperature=0.7) == 0
    assert [each["n"] for each in desk.student.requests] == [3]
    student = desk.raw()["France"]["student"]
    assert (student["text"], student["ok"], student["samples"]) == ("Paris", True, 3)
    assert student["signals"] == {"agreement": 2 / 3}
    assert student["tokens"] == ["Paris", "<end>"]
    # All three are on the bill.
    assert student["usage"] == {"prompt_tokens": 100, "completion_tokens": 6}
    assert student["cost_usd"] == pytest.approx(100 * 0.02e-6 + 6 * 0.06e-6)
    assert "n" not in desk.raw()["France"]["request"]
    assert desk.summary["spent_usd"] == pytest.approx(student["cost_usd"] + 100 * 0.6e-6 + 24e-6)


def test_a_server_that_writes_fewer_drafts_makes_no_record(desk: Desk) -> None:
    desk.document["samples"] = 3
    desk.student.reply = several("Paris", "Paris")
    assert desk.run(KNOWN[:1], temperature=0.7) == UNFINISHED
    assert desk.summary["failed"] == {"student:other_number_of_drafts": 1}
    assert "asked for 3 drafts, the server wrote 2" in desk.err


def test_several_drafts_that_would_be_one_are_refused_before_anybody_is_asked(desk: Desk) -> None:
    desk.document["samples"] = 3
    assert desk.run(KNOWN) == CANNOT_START
    assert "France: 3 drafts that always take the likeliest token are one" in desk.err
    desk.document["student"]["extra_body"] = {"temperature": 0.5}
    desk.student.reply = several("Paris", "Paris", "Rome")
    assert desk.run(KNOWN[:1]) == 0
    assert desk.raw()["France"]["student"]["sampling"]["temperature"] == 0.5


def test_the_teachers_disagreement_with_itself_is_the_floor(desk: Desk) -> None:
    said: list[str] = []

    def changes_its_mind(request: Mapping[str, Any]) -> Reply:
        country = country_in(request)
        said.append(country)
        is_second = said.count(country) == 2
        return Reply(completion("Oslo")) if is_second and country == "Peru" else knows_all(request)

    desk.teacher.reply = changes_its_mind
    assert desk.run(KNOWN, self_agreement=9, concurrency=1) == 0
    again = {name: each["teacher"]["again"] for name, each in desk.raw().items()}
    assert [name for name, each in again.items() if not each["agrees"]] == ["Peru"]
    assert again["Peru"]["ok"] is False
    assert again["France"]["ok"] is True
    told = desk.summary["self_agreement"]
    assert told == {"records": 4, "agreement": 0.75, "disagreement": 0.25}


def test_so_many_are_asked_twice_and_always_the_same(desk: Desk) -> None:
    assert desk.run(KNOWN, self_agreement=2) == 0
    first = {name for name, each in desk.raw().items() if "again" in each["teacher"]}
    assert len(first) == 2
    desk.out.unlink()
    assert desk.run(KNOWN[::-1], self_agreement=2) == 0
    assert {name for name, each in desk.raw().items() if "again" in each["teacher"]} == first


def test_what_failed_is_counted_and_asked_again_in_the_next_run(desk: Desk) -> None:
    def fails_at_peru(request: Mapping[str, Any]) -> Reply:
        return Reply(status=500) if country_in(request) == "Peru" else knows_all(request)

    desk.teacher.reply = fails_at_peru
    assert desk.run(KNOWN) == UNFINISHED
    assert desk.summary["failed"] == {"teacher:upstream_failed": 1}
    assert desk.summary["left_over"] == 1
    assert "Peru: teacher: The model server answered with status 500." in desk.err
    desk.teacher.reply = knows_all
    before = desk.out.read_bytes()
    assert desk.run(KNOWN) == 0
    assert desk.out.read_bytes().startswith(before)
    assert (desk.summary["written"], desk.summary["records"]) == (1, 4)
    assert "3 records are there already, 1 to go." in desk.err
    assert [request for request in desk.student.requests if country_in(request) == "France"][
        1:
    ] == []


def test_a_line_that_was_cut_short_is_made_again(desk: Desk) -> None:
    assert desk.run(KNOWN) == 0
    whole = desk.out.read_bytes()
    desk.out.write_bytes(whole[:-20])
    assert desk.run(KNOWN) == 0
    assert "A last line that was cut short is gone" in desk.err
    assert desk.summary["written"] == 1
    assert len(desk.records()) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"student": {"version": "student-2"}}, "another student"),
        ({"student": {"extra_body": {"top_k": 1}}}, "another student"),
        ({"teacher": {"model": "other"}}, "another teacher"),
        ({"comparator": {"kind": "exact"}}, "another comparator"),
        ({"samples": 2, "student": {"extra_body": {}}}, "another student"),
    ],
)
def test_a_file_made_with_something_else_is_refused(
    desk: Desk, change: dict[str, Any], words: str
) -> None:
    assert desk.run(KNOWN[:1]) == 0
    before = desk.out.read_bytes()
    for name, value in change.items():
        is_section = isinstance(value, dict)
        desk.document[name] = desk.document.get(name, {}) | value if is_section else value
    warm = {"temperature": 0.7} if "samples" in change else {}
    assert desk.run(KNOWN[:1], **warm) == CANNOT_START
    assert words in desk.err
    assert desk.out.read_bytes() == before


def test_a_server_that_moved_is_the_same_one(desk: Desk) -> None:
    assert desk.run(KNOWN[:1]) == 0
    desk.document["student"]["base_url"] = closed_port_url() + "/v1"
    assert desk.run(KNOWN[:1]) == 0
    assert desk.summary["written"] == 0


def test_another_data_set_is_refused_and_a_longer_one_is_not(desk: Desk) -> None:
    assert desk.run(KNOWN[:2]) == 0
    assert desk.run([KNOWN[0], KNOWN[1] | {"answer": "Milan"}]) == CANNOT_START
    assert "another question" in desk.err
    assert desk.run(KNOWN[:1]) == CANNOT_START
    assert "has a record 'Italy' that this data set" in desk.err
    assert desk.run(KNOWN) == 0
    assert len(desk.records()) == 4
    desk.out.write_bytes(desk.out.read_bytes() * 2)
    assert desk.run(KNOWN) == CANNOT_START
    assert "stands there twice" in desk.err


def test_a_server_that_is_away_is_not_asked_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_FAILURES_IN_A_ROW", 2)
    desk.document["student"]["base_url"] = closed_port_url() + "/v1"
    assert desk.run(KNOWN, concurrency=1) == UNFINISHED
    assert "Given up: 2 questions failed" in desk.err
    assert desk.summary["failed"] == {"student:upstream_unavailable": 2}
    assert desk.summary["left_over"] == 4
    assert desk.out.read_bytes() == b""


def test_an_interruption_leaves_a_file_that_can_be_gone_on_with(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = LineFile.append

    def interrupts(self: LineFile, line: Mapping[str, object]) -> None:
        append(self, line)
        if len(list(self.lines())) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LineFile, "append", interrupts)
    assert desk.run(KNOWN, concurrency=1) == INTERRUPTED
    assert "Interrupted; run it again to go on." in desk.err
    assert len(desk.records()) == 2
    monkeypatch.undo()
    assert desk.run(KNOWN) == 0
    assert len(desk.records()) == 4


def test_a_full_disk_ends_the_run_with_a_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int, __: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    assert desk.run(KNOWN) == CANNOT_START
    monkeypatch.undo()
    assert "No space left on device: mend that" in " ".join(desk.err.split())
    assert desk.run(KNOWN) == 0
    assert len(desk.records()) == 4


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (QUESTIONS, {"teacher": False}, "France: without a right answer it needs the teacher's"),
        (KNOWN, {"teacher": False, "self_agreement": 1}, "asks the teacher"),
        (KNOWN, {"cascade": "other"}, "there is no 'other', but assistant"),
        ([{}], {}, "line 1: needs one of"),
        (KNOWN, {"config": Path("nowhere.yaml")}, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_before_anybody_is_asked(
    desk: Desk, lines: list[dict[str, Any]], options: dict[str, Any], words: str
) -> None:
    assert desk.run(lines, **options) == CANNOT_START
    assert words in " ".join(desk.err.split())
    assert desk.student.requests == []


def test_of_several_cascades_one_must_be_chosen(desk: Desk, tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    config.write_text(yaml.safe_dump({"cascades": {"a": desk.document, "b": desk.document}}))
    assert desk.run(KNOWN[:1], config=config) == CANNOT_START
    assert "choose one with --cascade" in desk.err
    assert desk.run(KNOWN[:1], config=config, cascade="b") == 0
    assert desk.raw()["France"]["request"]["model"] == "b"


def test_without_json_the_summary_is_a_table(desk: Desk) -> None:
    with pytest.raises(json.JSONDecodeError):
        desk.run(KNOWN, as_json=False, self_agreement=1)
    assert desk.run(KNOWN) == 0


JUDGED = {"content": [{"token": "SAME", "logprob": -0.1, "top_logprobs": []}]}


def test_the_teacher_judges_in_both_orders_and_is_paid_for_it(desk: Desk) -> None:
    def judges(request: Mapping[str, Any]) -> Reply:
        if request["messages"][0]["role"] == "system":
            return Reply(completion("SAME", choice={"logprobs": JUDGED}))
        return Reply(completion("The city of Paris"))

    desk.teacher.reply = judges
    desk.document["comparator"] = {"kind": "judge", "at_least": 0.6}
    assert desk.run(QUESTIONS[:1]) == 0
    assert desk.raw()["France"]["student"]["score"] == 1.0
    first, *verdicts = desk.teacher.requests
    assert "logprobs" not in first
    assert len(verdicts) == 2
    assert {request["top_logprobs"] for request in verdicts} == {5}
    assert {request["model"] for request in verdicts} == {"upstream-teacher"}
    price = (3 * (100 * 0.60 + 10 * 2.40) + 100 * 0.02 + 10 * 0.06) / 1e6
    assert desk.summary["spent_usd"] == pytest.approx(price)
    desk.document["teacher"]["model"] = "another"
    assert desk.run(QUESTIONS[:1]) == CANNOT_START
    assert "another comparator and another teacher" in " ".join(desk.err.split())


def test_a_judge_without_a_verdict_leaves_the_question_for_later(desk: Desk) -> None:
    desk.document["comparator"] = {"kind": "judge"}
    desk.teacher.reply = Reply(completion("It depends."))
    assert desk.run(KNOWN[-1:], teacher=False) == UNFINISHED
    assert desk.summary["failed"] == {"comparator:no_score": 1}


def test_embeddings_are_asked_where_the_cascade_says(desk: Desk) -> None:
    vectors = [{"index": place, "embedding": [1.0, place / 10]} for place in (0, 1)]
    embedder = ScriptedModel(Reply({"data": vectors}))
    with serving(embedder) as url:
        desk.document["comparator"] = {
            "kind": "embedding", "base_url": url + "/v1", "model": "e", "at_least": 0.9,
        }  # fmt: skip
        assert desk.run(KNOWN[-1:], teacher=False) == 0
        assert embedder.requests[0]["input"] == ["Lima", "Oslo"]
        assert desk.raw()["Peru"]["student"]["score"] == pytest.approx(1 / 1.01**0.5)
        assert desk.summary["spent_usd"] is None
        embedder.reply = Reply(status=503)
        desk.out.unlink()
        assert desk.run(KNOWN[-1:], teacher=False) == UNFINISHED
    assert desk.summary["failed"] == {"embedder:upstream_unavailable": 1}


def test_the_scripted_server_is_really_asked(desk: Desk) -> None:
    url = desk.document["student"]["base_url"] + "/chat/completions"
    body = {"messages": [{"role": "user", "content": "Capital of Italy?"}]}
    reply = httpx.post(url, json=body, trust_env=False).json()
    assert reply["choices"][0]["message"]["content"] == "Rome."
