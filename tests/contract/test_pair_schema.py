"""The published form of a pair, held against what a gateway writes, one of each kind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from gateway.pairs import SCHEMA_VERSION
from routing.vocabulary import Handover, Reason, Role
from tests.fakes.pair_schema import SCHEMA, valid_pair, validator
from tests.fakes.script import ROLE, Until, Words, finish, used, whole
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.trial import HOPELESS, UNSURE, Trial, words
from tests.fakes.upstream import UNSURE as UNSURE_TOKEN
from tests.fakes.upstream import Reply, completion

UNSURE_REPLY = Reply(body=completion("Rome?", UNSURE_TOKEN))
DOCUMENT = json.loads(SCHEMA.read_text(encoding="utf-8"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as built:
        built.student.reply = UNSURE_REPLY
        yield built


def written(scene: Stage) -> dict[str, Any]:
    (line,) = scene.pairs()
    return valid_pair(line)


def test_a_plain_escalation(scene: Stage) -> None:
    response = scene.ask()
    pair = written(scene)
    assert pair["schema_version"] == SCHEMA_VERSION
    assert pair["request_id"] == response.headers["x-request-id"]
    assert pair["is_stream"] is False
    assert pair["content"]["request"] == scene.question
    assert pair["legs"][0]["output_tokens"] == 10


def test_the_request_stands_there_as_it_was_sent(scene: Stage) -> None:
    body = json.dumps(scene.question | {"x": [1.50, "\u00e9"], "seed": 10**15}, indent=1)
    body = body.replace("1.5", "1.50e0")
    headers = {"content-type": "application/json"}
    scene.client.post("/v1/chat/completions", content=body, headers=headers)
    written(scene)
    assert body.replace("\n", " ").encode() in scene.pairs()[0]


def test_an_escalation_without_a_draft(scene: Stage) -> None:
    scene.student.reply = Reply(status=500, body={"error": {"message": "no"}})
    scene.ask()
    pair = written(scene)
    assert pair["reason"] == "student_failed"
    assert pair["content"]["draft"] is None
    assert pair["confidence"] is None
    assert pair["legs"][0]["error"] == "upstream_failed"


def test_a_model_without_a_price_or_usage(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"student": {"price": None}}) as scene:
        scene.student.reply = Reply(body=completion("Rome?", UNSURE_TOKEN) | {"usage": None})
        scene.ask()
        leg = written(scene)["legs"][0]
        assert leg["cost_usd"] is None
        assert leg["input_tokens"] is None


def test_a_streamed_escalation_and_its_draft_completed_later(lone_trial: Trial) -> None:
    trial = lone_trial
    trial.stage.gateway.context.dice = lambda: 0.0
    more = trial.event()
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(more), *finish())
    trial.teacher_says(*whole(words(3, "t")))
    trial.ask("learning").whole()
    more.set()
    wait_until(lambda: trial.observer.completed_facts)
    first, second = trial.pairs()
    assert first["is_stream"] is True
    assert (first["draft_complete"], second["draft_complete"]) == (False, True)
    assert second["completes"] == first["id"]


@pytest.mark.parametrize("way", ["continue", "restart"])
def test_a_spliced_answer(lone_trial: Trial, way: str) -> None:
    trial = lone_trial
    doubted = Words(words(16, "d"), HOPELESS, is_counted=True)
    trial.student_says(ROLE, Words(words(16), is_counted=True), doubted, Until(trial.event()))
    trial.teacher_says(*whole(words(3, "t"), is_counted=True), *finish(usage=used(3)))
    cascade = {"continue": "continuing", "restart": "restarting"}[way]
    trial.ask(cascade, headers={"x-understudy-handover": "restart"}).whole()
    (pair,) = trial.pairs()
    assert pair["splice"]["handover"] == way
    assert pair["splice"]["after_characters"] == len(pair["content"]["released"])


def test_a_sealed_pair(tmp_path: Path) -> None:
    with stage(tmp_path, settings={"pairs_keys": Fernet.generate_key().decode()}) as scene:
        scene.student.reply = UNSURE_REPLY
        scene.ask()
        assert written(scene)["content"] is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"schema_version": 1}, "an older form"),
    ({"id": "p1"}, "an id of another form"),
    ({"reason": "whim"}, "a reason that there is not"),
    ({"sealed": "gAAAA" + "x" * 80}, "content twice"),
    ({"content": None}, "content nowhere"),
    ({"dropped": "redactor_failed"}, "dropped content that is there"),
    ({"confidence": 1.5}, "no probability"),
    ({"draft": None}, "a member of the first form"),
    ({"propensity": 0}, "a draft that was never to be had"),
]


def test_the_schema_refuses_what_is_of_another_form(scene: Stage) -> None:
    scene.ask()
    pair = written(scene)
    for change, why in REFUSED:
        assert not validator().is_valid(pair | change), why


def test_no_member_may_be_missing(scene: Stage) -> None:
    scene.ask()
    pair = written(scene)
    assert set(pair) == set(DOCUMENT["required"]) == set(DOCUMENT["properties"])
    for name in pair:
        assert not validator().is_valid({key: pair[key] for key in pair if key != name}), name


def test_its_lists_are_the_vocabularys() -> None:
    properties = DOCUMENT["properties"]
    assert properties["reason"]["enum"] == [*(each.value for each in Reason), None]
    assert properties["served_by"]["enum"] == [each.value for each in Role]
    handover = DOCUMENT["$defs"]["splice"]["properties"]["handover"]["enum"]
    assert set(handover) == set(Handover) - {Handover.NEVER}


def described(schema: dict[str, Any], path: str) -> Iterator[str]:
    """The members of objects that say nothing of what they are."""
    for name, member in schema.get("properties", {}).items():
        if "description" not in member:
            yield f"{path}.{name}"
        yield from described(member, f"{path}.{name}")


def test_every_field_is_described() -> None:
    missing = list(described(DOCUMENT, "pair"))
    for name, each in DOCUMENT["$defs"].items():
        missing += described(each, name)
        missing += [] if "description" in each else [name]
    assert not missing
