"""Which answers are stored, and what stands in the journal of each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.api.account import Account
from gateway.api.storing import recorded
from gateway.facts import Ending
from gateway.legs import Legs
from gateway.ports import StreamKind
from gateway.redaction import Redactor
from gateway.safekeeping import Safekeeping
from gateway.stored import NO_ID, NotStorable, sealed_in
from gateway.stores.completion_scripts import Record, adding_of
from gateway.stores.redis_keys import completion_keys
from gateway.stores.segment import Frame
from gateway.wire.chat_wire import ChatWire
from gateway.wire.completion import read_completion
from gateway.wire.protocol import Wire
from gateway.wire.stored import read_head
from gateway.wire.text.reply import TextWire
from tests.fakes.journals import all_records
from tests.fakes.script import ROLE, BreakOff, Words, content_of, finish, payloads
from tests.fakes.serving import (
    Stage,
    cascade_document,
    closed_port_url,
    load_gateway,
    server_of,
    stage,
)
from tests.fakes.stored import stored
from tests.fakes.trial import HOPELESS, UNSURE, joined, words
from tests.fakes.upstream import Reply, completion, saying
from tests.fakes.valkey import store_server
from tests.stores.shipping import until

ENABLED = {"enabled": True}
OTHERS: dict[str, dict[str, Any]] = {
    "forgetful": {},
    "paired-not": {"stored": ENABLED, "pairs": {"store": False}},
    "continuing": {"stored": ENABLED, "streaming": {"handover": "continue"}},
    "restarting": {"stored": ENABLED, "streaming": {"handover": "restart"}},
    "degrading": {"stored": ENABLED, "teacher": {"base_url": closed_port_url()}},
    "aborting": {"stored": ENABLED, "streaming": {"early_abort": True}},
}
NOT_COMPLETED = {"audit": {"complete_drafts": 0}}
DRAFT, TAUGHT = words(20), ["t0", " t1", "."]
SURE_WORDS, DOUBTED = words(16), words(16, "d")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    others = {name: NOT_COMPLETED | changes for name, changes in OTHERS.items()}
    cascade = NOT_COMPLETED | {"stored": ENABLED}
    with stage(tmp_path_factory.mktemp("stored"), cascade=cascade, others=others) as made:
        yield made


@pytest.fixture
def scene(built: Stage) -> Stage:
    built.student.reply, built.teacher.reply = saying(DRAFT), saying(TAUGHT)
    server_of(built.gateway.context.served["continuing"].cascade.teacher).can_continue = True
    return built


def frames(scene: Stage) -> list[Frame]:
    return list(all_records(scene.folder / "state"))


def kept_of(scene: Stage, **asked: Any) -> tuple[Any, list[dict[str, Any]], int]:
    """The response to a request, the completions that it left, and how many pairs."""
    before = len(frames(scene))
    response = scene.ask(**asked)
    new = frames(scene)[before:]
    records = [json.loads(each.record) for each in new if each.kind is StreamKind.STORED]
    return response, records, len(new) - len(records)


def answer_in(record: dict[str, Any]) -> Any:
    return record["answer"]["answer"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("asked", "is_stored", "pairs"),
    [
        ({"store": True}, True, 1),
        ({"store": False}, False, 0),
        ({"store": None}, False, 1),
        ({}, False, 1),
        ({"store": True, "model": "forgetful", "metadata": {"a": [1]}}, False, 1),
        ({"store": True, "model": "paired-not"}, True, 0),
    ],
    ids=["true", "false", "null", "absent", "not stored here", "no pairs here"],
)
def test_what_store_says_of_completions_and_of_pairs(
    scene: Stage, asked: dict[str, Any], is_stored: bool, pairs: int, is_stream: bool
) -> None:
    scene.student.reply = saying(DRAFT, UNSURE)
    response, records, count = kept_of(scene, stream=is_stream, **asked)
    assert response.status_code == 200
    assert (len(records), count) == (is_stored, pairs)
    for record in records:
        assert answer_in(record)["choices"][0]["message"]["content"] == joined(TAUGHT)


def test_a_record_has_what_the_client_got_and_the_messages_it_answers(scene: Stage) -> None:
    asked = {"store": True, "metadata": {"a": "1"}, "seed": 7, "max_tokens": 9}
    response, (record,), pairs = kept_of(scene, **asked)
    assert pairs == 0
    assert answer_in(record) == response.json()
    assert record["answer"]["request"] == {"seed": 7}
    assert record["request"] == {"request": {"messages": scene.question["messages"]}}
    head = record["head"]
    assert head["metadata"] == {"request": {"metadata": {"a": "1"}}}
    for each in (record, head):
        assert (each["id"], each["tenant"]) == ("chatcmpl-1", None)
        assert each["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_degraded_answers_are_stored_too(scene: Stage, is_stream: bool) -> None:
    scene.student.reply = saying(DRAFT, UNSURE)
    response, (record,), _ = kept_of(scene, model="degrading", store=True, stream=is_stream)
    assert response.headers["x-understudy-degraded"] == "teacher_failed"
    assert answer_in(record)["choices"][0]["message"]["content"] == joined(DRAFT)


@pytest.mark.parametrize("is_sure", [True, False], ids=["kept", "escalated"])
def test_an_answer_that_was_streamed_inside_alone_is_stored_whole(
    scene: Stage, is_sure: bool
) -> None:
    if not is_sure:
        scene.student.reply = saying(DRAFT, UNSURE)
    response, (record,), _ = kept_of(scene, model="aborting", store=True)
    assert answer_in(record) == response.json()


def test_several_choices_are_stored_as_they_were(scene: Stage) -> None:
    choices = [{**completion("one")["choices"][0]}, {**completion("two")["choices"][0], "index": 1}]
    scene.student.reply = Reply(body=completion(choices=choices))
    response, (record,), _ = kept_of(scene, store=True, n=2, stream=True)
    assert len(payloads(response.text)) == 6
    texts = [each["message"]["content"] for each in answer_in(record)["choices"]]
    assert texts == ["one", "two"]


@pytest.mark.parametrize("is_usage_wanted", [False, True])
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("continuing", joined(SURE_WORDS, DOUBTED) + "t0 t1."),
        ("restarting", joined(TAUGHT)),
        ("assistant", joined(SURE_WORDS, DOUBTED)),
    ],
)
def test_of_a_late_doubt_what_the_client_is_left_with_is_stored(
    scene: Stage, model: str, text: str, is_usage_wanted: bool
) -> None:
    scene.student.reply = Reply(steps=[
        ROLE, Words(SURE_WORDS, is_counted=True), Words(DOUBTED, HOPELESS, is_counted=True),
        *finish(),
    ])  # fmt: skip
    scene.client.headers["x-understudy-handover"] = "restart"
    options = {"stream_options": {"include_usage": True}} if is_usage_wanted else {}
    response, (record,), _ = kept_of(scene, model=model, store=True, stream=True, **options)
    answer, sent = answer_in(record), payloads(response.text)
    if model != "restarting":
        assert content_of(sent) == text
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    assert choice["message"]["role"] == "assistant"
    assert {answer[name] for name in ("id", "model")} == {sent[0]["id"], model}
    assert "understudy" not in answer
    if is_usage_wanted:
        assert answer["usage"] == sent[-1]["usage"]
    elif model == "continuing":
        assert answer.get("usage") is None  # two have written, and nobody added it up
    else:
        assert answer["usage"]["prompt_tokens"] == 100


def test_an_answer_that_breaks_off_is_not_stored(scene: Stage) -> None:
    scene.student.reply = Reply(steps=[ROLE, Words(words(40)), BreakOff()])
    response, records, _ = kept_of(scene, store=True, stream=True)
    assert b'"error"' in response.content
    assert records == []
    scene.student.reply = Reply(status=400, body={"error": {"message": "no"}})
    response, records, _ = kept_of(scene, store=True)
    assert (response.status_code, records) == (400, [])


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 129, None, ".hidden", "é"])
def test_a_completion_that_nobody_could_ask_for_is_not_stored_and_told(
    scene: Stage, name: str | None
) -> None:
    lost = {"cascade": "assistant", "fate": "lost"}
    before = scene.metric("understudy_stored_completions_total", **lost)
    scene.student.reply = Reply(body=completion("x", id=name))
    response, records, _ = kept_of(scene, store=True)
    assert response.json()["id"] == name
    assert records == []
    assert scene.metric("understudy_stored_completions_total", **lost) == before + 1


@pytest.mark.parametrize(
    ("wire", "said"),
    [(ChatWire(), {"store": False}), (ChatWire(), {}), (TextWire(), {"store": True})],
    ids=["not wished", "not said", "another protocol"],
)
def test_a_request_that_is_not_stored_pays_nothing(scene: Stage, wire: Wire, said: Any) -> None:
    """It stays what it is: nobody puts its stream together once more."""
    asked = wire.read(json.dumps(scene.question | {"prompt": "x"} | said).encode(), None)
    context = scene.gateway.context
    account = Account(context, "r", 0.0, Legs(context.clock), served=context.served["assistant"])
    assert recorded(asked, account) is asked
    assert account.recording is None
    wished = ChatWire().read(json.dumps(scene.question | {"store": True}).encode(), None)
    assert recorded(wished, account) is account.recording


async def test_an_answer_made_and_not_sent_is_not_stored(scene: Stage) -> None:
    context, before = scene.gateway.context, len(frames(scene))
    account = Account(context, "r", 0.0, Legs(context.clock), served=context.served["assistant"])
    asked = ChatWire().read(json.dumps(scene.question | {"store": True}).encode(), None)
    recorded(asked, account).whole(read_completion(json.dumps(completion("x")).encode()))
    account.settle(Ending.FAILED, 500)
    assert len(frames(scene)) == before
    assert account.recording is not None
    account.recording.leaving()
    assert len(frames(scene)) == before + 1


def test_content_is_redacted_and_sealed_and_marks_are_not() -> None:
    class Reversed:
        def seal(self, content: bytes) -> str:
            return content.decode()[::-1]

    redactor = Redactor("mine", lambda text: text.replace("Paris", "[CITY]"))
    in_clear = json.loads(
        stored("x", metadata={"Paris": "in Paris"}, safekeeping=Safekeeping(redactor))
    )
    assert answer_in(in_clear)["choices"][0]["message"]["content"] == "[CITY]."
    assert answer_in(in_clear)["id"] == "x"
    assert in_clear["head"]["metadata"]["request"]["metadata"] == {"[CITY]": "in [CITY]"}
    sealed = json.loads(stored("x", safekeeping=Safekeeping(redactor, Reversed())))
    for part in (sealed["answer"], sealed["request"], sealed["head"]["metadata"]):
        token = sealed_in(msgspec.json.encode(part))
        assert token == part
        assert token is not None
        assert json.loads(token[::-1]).keys() <= {"answer", "request"}
    assert (sealed["id"], sealed["tenant"]) == ("x", "ann")
    record = msgspec.json.decode(stored("x"), type=Record)
    assert read_head(bytes(record.head)).answer_bytes == len(bytes(record.answer))


def test_what_cannot_be_redacted_is_not_stored() -> None:
    def broken(_: str) -> str:
        raise ValueError

    with pytest.raises(NotStorable) as lost:
        stored("x", safekeeping=Safekeeping(Redactor("mine", broken)))
    assert lost.value.cause == "redactor_failed"
    with pytest.raises(NotStorable) as lost:
        stored("")
    assert lost.value.cause == NO_ID


async def test_what_was_stored_expires_also_where_nothing_more_is_stored(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    times = completion_keys("assistant")[4]
    sections: dict[str, dict[str, Any]] = {
        "assistant": {"stored": {"enabled": False, "max_age_days": 2}},
        "untold": {},
    }
    with store_server(tmp_path / "store") as server, server.client() as client:
        for name in sections:
            adding: Any = adding_of(name, stored("x"))
            client.execute_command(*adding)
        documents = {
            name: cascade_document(closed_port_url(), closed_port_url(), **section)
            for name, section in sections.items()
        }
        assistant = documents.pop("assistant")
        gateway = load_gateway(tmp_path, assistant, {"redis_url": server.url}, documents)
        async with gateway.running():
            await until(lambda: not client.exists(times))
        assert client.exists(completion_keys("untold")[4])
    expired = {"cascade": "assistant", "fate": "expired"}
    registry = gateway.context.observer.metrics.registry
    assert registry.get_sample_value("understudy_stored_completions_total", expired) == 1
