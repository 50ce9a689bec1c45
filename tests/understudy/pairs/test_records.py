"""What was learnt live becomes records that policies are fitted on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.deletions import Deletion
from evaluation.records import read_records
from tests.fakes.pair_log import fill
from tests.fakes.pairs import NOON, audit, completion, pair, request
from tests.fakes.serving import cascade_document
from tests.fakes.upstream import tokens
from tests.understudy.commands import Command
from understudy.pairs.store import Log


def drafted(content: str) -> dict[str, Any]:
    """A draft with the log-probabilities of its words."""
    body = completion(content)
    body["choices"][0]["logprobs"] = {"content": tokens(*content.split(" "))}
    return body


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "live.jsonl"


def configured(folder: Path, comparator: dict[str, Any]) -> str:
    path = folder / "cascades.yaml"
    document = cascade_document("http://s", "http://t", comparator=comparator)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    return str(path)


def test_audits_and_escalations_are_one_sample_each_with_its_weight(
    command: Command, log: Log, out: Path
) -> None:
    fill(
        log,
        [
            audit(1, propensity=0.25, draft=drafted("Paris is"), group="geo"),
            audit(2, loss=1, score=0.0),
            audit(3, loss=1, score=None, answer=None),
        ],
        stream="audits",
    )
    fill(
        log,
        [
            pair(4, draft=drafted("4"), answer=completion("4")),
            pair(5, draft=None, draft_complete=False),
            pair(6, completes=f"{5:032x}", propensity=0.5),
        ],
    )
    told = json.loads(command.said("records", str(out), "--json"))
    assert told["written"] == {"audits": 3, "pairs": 2}
    assert told["left_out"] == {"draft_incomplete": 1}
    found = {int(record.id, 16): record for record in read_records(out)}
    weights = {1: 4.0, 2: 50.0, 3: 50.0, 4: 1.0, 6: 2.0}
    assert {number: record.weight for number, record in found.items()} == weights
    good = {number: record.student.ok for number, record in found.items()}
    assert good == {1: True, 2: False, 3: False, 4: True, 6: False}
    assert found[1].group == "geo"
    assert found[1].student.token_logprobs == (-0.01, -0.01)
    assert found[1].student.version == "student-1"
    assert found[1].request["messages"][0]["content"] == "What is 1 + 1?"
    assert [found[1].teacher.ok, found[3].teacher.ok] == [True, False]
    assert out.stat().st_mode & 0o777 == 0o600


def test_what_is_there_stays_and_what_is_new_is_added(
    command: Command, log: Log, out: Path
) -> None:
    fill(log, [audit(1)], stream="audits")
    command.said("records", str(out))
    fill(log, [audit(1), audit(2)], stream="audits")
    assert "new, audits: 1" in command.said("records", str(out))
    assert [int(record.id, 16) for record in read_records(out)] == [1, 2]


def test_drafts_that_were_held_out_stand_for_those_that_audits_stand_for(
    command: Command, log: Log, out: Path
) -> None:
    fill(log, [pair(1, reason="holdout", propensity=0.1)])
    command.said("records", str(out))
    assert [record.weight for record in read_records(out)] == [10.0]
    fill(log, [audit(2)], stream="audits")
    fill(log, [pair(3, reason="holdout", propensity=0.1)])
    for written in ({"audits": 1}, {}):
        told = json.loads(command.said("records", str(out), "--json"))
        assert (told["written"], told["left_out"]) == (written, {"held_out": 1})


LEFT_OUT: list[tuple[dict[str, Any], str]] = [
    ({"student_version": "student-0"}, "other_student"),
    ({"content": None, "dropped": "redactor_failed"}, "dropped"),
    ({"splice": {"handover": "restart", "after_tokens": 1, "after_characters": 1}}, "spliced"),
    ({"request": request("Say two.", n=2)}, "several_choices"),
    ({"request": {"model": "m"}}, "request_unreadable"),
    ({"draft": {"choices": []}}, "answer_unreadable"),
    ({"draft": None}, "draft_incomplete"),
    ({"request_id": "gone"}, "deleted"),
]


def test_what_is_no_record_is_counted(command: Command, log: Log, out: Path) -> None:
    fill(log, [pair(number, **changes) for number, (changes, _) in enumerate(LEFT_OUT)])
    fill(log, [b"nonsense"])
    log.delete(Deletion(NOON, request_id="gone"))
    arguments = ("records", str(out), "--student-version", "student-1", "--json")
    told = json.loads(command.said(*arguments))
    assert told["left_out"] == {cause: 1 for _, cause in LEFT_OUT} | {"unreadable": 1}
    assert told["written"] == {}


def test_the_cascades_comparator_says_what_is_the_same(
    command: Command, log: Log, out: Path, tmp_path: Path
) -> None:
    fill(log, [pair(1, draft=completion("3.0"), answer=completion("It is 3"))])
    config = configured(tmp_path, {"kind": "number"})
    command.said("records", str(out), "--config", config)
    assert [record.student.ok for record in read_records(out)] == [True]


def test_where_the_comparator_asks_somebody_audits_alone_say(
    command: Command, log: Log, out: Path, tmp_path: Path
) -> None:
    fill(log, [pair(1)])
    fill(log, [audit(2, score=0.7, at_least=0.5)], stream="audits")
    config = configured(tmp_path, {"kind": "judge"})
    told = json.loads(command.said("records", str(out), "--config", config, "--json"))
    assert told["written"] == {"audits": 1}
    assert told["left_out"] == {"comparator_asks": 1}


def test_a_file_of_another_kind_is_left_alone(command: Command, log: Log, out: Path) -> None:
    fill(log, [pair(1)])
    out.write_text("[1]\n")
    assert command.status("records", str(out)) == 2
    assert "line 1" in command.error
    unknown = configured(out.parent, {"kind": "exact"}).replace("cascades", "other")
    Path(unknown).write_text(
        yaml.safe_dump({"cascades": {"elsewhere": cascade_document("http://s", "http://t")}})
    )
    assert command.status("records", str(out.parent / "new"), "--config", unknown) == 2
    assert "no cascade 'assistant'" in command.error
