"""Kept drafts are audited once the client has its answer: whose, what is asked, what is told."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.account import Account
from gateway.audits.hindrance import barrier_of, hindrance_of
from gateway.errors import BudgetSpent
from gateway.legs import Legs
from gateway.wire.chat import parse_chat
from routing.money import PICO_PER_USD
from routing.vocabulary import NotAudited
from tests.fakes.script import ROLE, Words, finish, tool_call, used
from tests.fakes.scripted_log import ScriptedLog
from tests.fakes.serving import Stage, server_of, wait_until
from tests.fakes.trial import joined, words
from tests.fakes.upstream import Reply, completion, saying
from tests.gateway.audits.auditing import ALWAYS, LYON, UNSURE_REPLY, Scene, auditing

CASCADES: dict[str, dict[str, Any]] = {
    "poor": {"audit": ALWAYS | {"usd_per_hour": 0}},
    "unstored": {"audit": ALWAYS, "pairs": {"store": False}},
    "unaudited": {"audit": {"complete_drafts": 0.0}},
    "holding": {"audit": ALWAYS | {"share": 0.6, "holdout": 0.25}},
    "a-third": {"audit": ALWAYS | {"share": 0.3}},
    "judging": {"audit": ALWAYS | {"priority": 9}, "comparator": {"kind": "judge"}},
}
TEACHER_USD = 100 * 0.6e-6 + 10 * 2.4e-6
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("audits")
    with auditing(folder, {"audit": ALWAYS | {"priority": 1000}}, CASCADES) as stage:
        yield stage


@pytest.fixture
def scene(built: Stage) -> Iterator[Scene]:
    made = Scene(built)
    made.begin()
    yield made
    made.end()


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_kept_draft_is_held_against_what_the_teacher_says(scene: Scene, is_stream: bool) -> None:
    scene.stage.teacher.reply = LYON
    response = scene.ask(stream=is_stream)
    assert response.headers["x-understudy-served-by"] == "student"
    (audit,) = scene.audits()
    assert audit["request_id"] == response.headers["x-request-id"]
    assert (audit["score"], audit["loss"], audit["known"]) == (0.0, 1, "audited")
    assert (audit["propensity"], audit["least"], audit["epoch"]) == (1.0, 1.0, None)
    assert audit["tenant"] == "open"
    assert audit["reason"] == "confident"
    assert audit["confidence"] > 0.8
    said = [audit["content"][part]["choices"][0]["message"] for part in ("draft", "answer")]
    assert [each["content"] for each in said] == ["Paris.", "Lyon."]
    assert audit["content"]["draft"]["choices"][0]["logprobs"]["content"]
    assert audit["content"]["request"]["messages"] == scene.stage.question["messages"]
    assert [leg["role"] for leg in audit["legs"]] == ["student", "teacher"]
    assert scene.counted("understudy_audits_total", cascade="assistant", outcome="differ") == 1


def test_of_a_long_stream_all_is_compared_though_most_was_out_at_once(scene: Scene) -> None:
    said = words(40)
    for model in (scene.stage.student, scene.stage.teacher):
        model.reply = saying(said)
    scene.ask(stream=True)
    (audit,) = scene.audits()
    draft = audit["content"]["draft"]["choices"][0]
    assert draft["message"]["content"] == joined(said)
    assert len(draft["logprobs"]["content"]) == 40
    assert audit["loss"] == 0


def test_the_teacher_is_asked_the_same_thing_whole_and_behind_all_others(scene: Scene) -> None:
    scene.ask(stream=True, seed=7, stream_options={"include_usage": True})
    scene.settle()
    (asked,) = scene.stage.teacher.requests
    assert asked == {
        "model": "upstream-teacher",
        "messages": scene.stage.question["messages"],
        "seed": 7,
        "priority": 1000,
    }
    (audit,) = scene.audits()
    assert (audit["score"], audit["loss"]) == (1.0, 0)
    assert scene.counted("understudy_audits_total", cascade="assistant", outcome="agree") == 1


def test_only_audits_have_a_priority_and_a_clients_own_is_refused(scene: Scene) -> None:
    assert scene.ask(priority=1).status_code == 400
    scene.stage.student.reply = UNSURE_REPLY
    assert scene.ask().headers["x-understudy-served-by"] == "teacher"
    (asked,) = scene.stage.teacher.requests
    assert "priority" not in asked
    assert scene.audits() == []  # what the teacher has answered needs no audit


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_the_client_has_its_answer_before_the_audit_begins(scene: Scene, is_stream: bool) -> None:
    """The teacher says nothing until the test, which has read all of the answer, lets it."""
    said = scene.event()

    def answer(_: object) -> Reply:
        wait_until(said.is_set)  # it holds up the teacher's thread, and nobody else
        return Reply()

    scene.stage.teacher.reply = answer
    text = scene.ask(stream=is_stream).text
    assert "Paris." in text
    wait_until(lambda: scene.stage.metric("understudy_audits_open", cascade="assistant") == 1)
    said.set()
    assert len(scene.audits()) == 1


def test_what_an_audit_costs_is_on_the_bill_and_no_part_of_the_request(scene: Scene) -> None:
    response = scene.ask()
    assert float(response.headers["x-understudy-cost-usd"]) < TEACHER_USD / 10
    name, teacher = "understudy_cost_usd_total", {"cascade": "assistant", "role": "teacher"}
    assert scene.counted(name, **teacher, kind="audit") == pytest.approx(TEACHER_USD)
    assert scene.counted(name, **teacher, kind="served") == 0


@pytest.mark.parametrize(
    ("cascade", "key", "changes", "cause"),
    [
        ("assistant", "private", {}, "no_consent"),
        ("assistant", "open", {"store": False}, "no_consent"),
        ("unstored", "open", {}, "no_consent"),
        ("assistant", "open", {"n": 2}, "several_choices"),
        ("assistant", "inside", {}, "not_allowed"),
        ("poor", "open", {}, "budget_spent"),
    ],
    ids=["tenant", "request", "cascade", "choices", "no teacher", "budget"],
)
def test_whose_draft_is_never_sent_to_the_teacher(
    scene: Scene, cascade: str, key: str, changes: dict[str, Any], cause: str
) -> None:
    body = completion()
    body["choices"] *= changes.get("n", 1)
    scene.stage.student.reply = Reply(body=body)
    response = scene.ask(key, model=cascade, **changes)
    assert response.headers["x-understudy-served-by"] == "student"
    assert scene.skipped(cascade) == [cause]
    assert scene.stage.teacher.requests == []
    assert scene.audits() == []


def test_nothing_is_audited_that_could_not_be_recorded(scene: Scene) -> None:
    context = scene.stage.gateway.context
    log, context.pairs = context.pairs, ScriptedLog(has_room=False)
    scene.ask()
    scene.settle()
    context.pairs = log
    assert scene.skipped() == ["journal_full"]


def test_a_key_that_has_spent_its_day_pays_no_audits(scene: Scene) -> None:
    account = Account(
        context=scene.stage.gateway.context,
        request_id="r",
        started=0.0,
        legs=Legs(lambda: 0.0, budget_spent=BudgetSpent("spent", retry_after_seconds=60)),
        chat=parse_chat(json.dumps(scene.stage.question).encode()),
        served=scene.stage.gateway.context.served["assistant"],
    )
    assert barrier_of(account) is NotAudited.KEY_BUDGET_SPENT


def test_no_audit_begins_while_the_process_drains(scene: Scene) -> None:
    context = scene.stage.gateway.context
    served = context.served["assistant"]
    assert hindrance_of(context, served) is None
    context.is_draining = True
    cause = hindrance_of(context, served)
    context.is_draining = False
    assert cause is NotAudited.STOPPING


def test_who_says_who_answers_is_not_audited(scene: Scene) -> None:
    scene.ask(understudy={"route": "student"})
    scene.ask(model="unaudited")
    assert scene.audits() == []
    assert scene.skipped() == []
    assert scene.stage.teacher.requests == []


def test_the_share_is_that_of_a_coin_which_knows_nothing_of_the_request(scene: Scene) -> None:
    """It falls before there is a draft, and the same question has another each time."""
    falls = iter([0.29, 0.3, 0.0, 0.99])
    thrown: list[int] = []

    def dice() -> float:
        thrown.append(len(scene.stage.student.requests))
        return next(falls)

    scene.stage.gateway.context.dice = dice
    for _ in range(4):
        scene.ask(model="a-third")
    assert [audit["propensity"] for audit in scene.audits()] == [0.3, 0.3]
    assert thrown == [0, 1, 2, 3]


def test_the_record_says_how_likely_it_was_and_how_likely_it_was_that_the_loss_is_known(
    scene: Scene,
) -> None:
    scene.stage.gateway.context.dice = lambda: 0.3  # not held out, and audited
    scene.ask(model="holding")
    (audit,) = scene.audits()
    assert audit["propensity"] == pytest.approx(0.75 * 0.6)
    assert audit["known_with"] == pytest.approx(0.25 + 0.75 * 0.6)


def test_an_audit_that_fails_is_tried_again_and_then_counts_as_one_that_differs(
    scene: Scene,
) -> None:
    scene.stage.teacher.reply = Reply(status=500)
    scene.ask()
    (audit,) = scene.audits()
    assert len(scene.stage.teacher.requests) == 2
    assert (audit["score"], audit["loss"], audit["content"]["answer"]) == (None, 1, None)
    assert {leg["error"] for leg in audit["legs"]} == {None, "upstream_failed"}
    assert scene.counted("understudy_audits_total", cascade="assistant", outcome="failed") == 1


def test_an_audit_that_the_teacher_refuses_is_not_tried_again(scene: Scene) -> None:
    scene.stage.teacher.reply = Reply(status=400, body={"error": {"message": "too long"}})
    scene.ask()
    (audit,) = scene.audits()
    assert len(scene.stage.teacher.requests) == 1
    assert (audit["score"], audit["loss"]) == (None, 1)


def test_an_audit_that_comes_the_second_time_is_as_good_as_any(scene: Scene) -> None:
    replies = iter([Reply(status=500), Reply()])
    scene.stage.teacher.reply = lambda _: next(replies)
    scene.ask()
    (audit,) = scene.audits()
    assert (audit["score"], audit["loss"]) == (1.0, 0)


def test_a_teacher_that_is_left_alone_is_not_asked_and_that_is_no_loss(scene: Scene) -> None:
    scene.leave_teacher_alone("assistant")
    scene.ask()
    assert scene.skipped() == ["left_alone"]
    assert scene.audits() == []


def test_a_teacher_without_room_to_spare_is_not_asked(scene: Scene) -> None:
    teacher = server_of(scene.stage.gateway.context.served["assistant"].cascade.teacher)
    spare = int(teacher.max_calls * 0.8)
    for open_calls, audited in ((spare, 1), (spare + 1, 0)):
        teacher.open_calls += open_calls
        scene.ask()
        scene.settle()
        teacher.open_calls -= open_calls
        assert len(scene.audits()) == 1
        assert scene.skipped() == ["no_room"] * (1 - audited)


def test_no_more_audits_are_open_than_may_be(scene: Scene) -> None:
    audits = scene.stage.gateway.context.served["assistant"].audits
    for taken, skipped in ((15, []), (16, ["no_room"])):
        audits.open += taken
        scene.ask()
        wait_until(lambda: not scene.stage.gateway.context.background)
        audits.open -= taken
        assert scene.skipped() == skipped
    assert len(scene.audits()) == 1


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("theirs", "loss"),
    [('{"b": [1], "a": "x"}', 0), ('{"a": "y", "b": [1]}', 1), (None, 1)],
    ids=["same", "other", "words"],
)
def test_calls_of_tools_are_compared_by_name_and_arguments(
    scene: Scene, is_stream: bool, theirs: str | None, loss: int
) -> None:
    def calling(arguments: str | None) -> dict[str, Any]:
        if arguments is None:
            return completion("I would look.")
        call = {"id": "c", "type": "function"}
        calls = [call | {"function": {"name": "look", "arguments": arguments}}]
        body = completion("Let me look.", message={"tool_calls": calls})
        body["choices"][0]["finish_reason"] = "tool_calls"
        return body

    steps = [
        ROLE, Words(["Let ", "me ", "look."]),
        *tool_call("look", ['{"a":', '"x",', '"b":[1]}']), *finish("tool_calls", used(9)),
    ]  # fmt: skip
    scene.stage.student.reply = Reply(body=calling('{"a":"x","b":[1]}'), steps=steps)
    scene.stage.teacher.reply = Reply(body=calling(theirs))
    scene.ask(stream=is_stream, tools=TOOLS)
    (audit,) = scene.audits()
    assert audit["loss"] == loss
    message = audit["content"]["draft"]["choices"][0]["message"]
    assert (message["content"], len(message["tool_calls"])) == ("Let me look.", 1)


def verdict(word: str) -> dict[str, Any]:
    """What a judge replies."""
    tops = [{"token": word, "logprob": -0.01, "bytes": None}]
    entry = {"token": word, "logprob": -0.01, "bytes": None, "top_logprobs": tops}
    return completion(word, choice={"logprobs": {"content": [entry]}})


@pytest.mark.parametrize(("word", "loss"), [("SAME", 0), ("DIFFERENT", 1), ("Well", 1)])
def test_a_comparator_that_asks_the_teacher_asks_it_last_too(
    scene: Scene, word: str, loss: int
) -> None:
    def reply(request: Any) -> Reply:
        is_judging = request["messages"][0]["role"] == "system"
        return Reply(body=verdict(word)) if is_judging else LYON

    scene.stage.teacher.reply = reply
    scene.ask(model="judging")
    (audit,) = scene.audits()
    asked, *judged = scene.stage.teacher.requests
    assert len(judged) == 2
    assert "What is the capital of France?" in judged[0]["messages"][1]["content"]
    assert {each["priority"] for each in (asked, *judged)} == {9}
    assert (audit["loss"], audit["comparator"], audit["at_least"]) == (loss, "judge-1", 0.5)
    assert len(audit["legs"]) == 4
    cost = scene.counted(
        "understudy_cost_usd_total", cascade="judging", role="teacher", kind="audit"
    )
    assert cost == pytest.approx(3 * TEACHER_USD)


def test_a_controller_hears_what_was_found_and_what_it_cost(scene: Scene) -> None:
    steering = scene.steer(audit=0.5)
    scene.stage.teacher.reply = LYON
    scene.ask()
    (audit,) = scene.audits()
    (grade,) = steering.grades
    assert (grade.loss, grade.propensity, grade.least, grade.epoch) == (1.0, 0.5, 0.5, 3)
    assert grade.is_kept
    assert grade.merit == audit["merit"]
    assert (audit["propensity"], audit["least"], audit["epoch"]) == (0.5, 0.5, 3)
    assert steering.spent_pico == round(TEACHER_USD * PICO_PER_USD)


def test_a_controller_without_money_has_nothing_audited(scene: Scene) -> None:
    steering = scene.steer()
    steering.has_money = False
    scene.ask()
    assert scene.skipped() == ["budget_spent"]
    assert steering.grades == []


def test_the_terms_are_those_of_the_time_at_which_the_request_came(scene: Scene) -> None:
    """An epoch that ends meanwhile has this grade all the same, and not the next one."""
    steering = scene.steer()

    def answer(_: object) -> Reply:
        steering.standing = scene.steer(epoch=4, audit=1.0).standing
        return Reply()

    scene.stage.teacher.reply = answer
    scene.ask()
    scene.settle()
    (grade,) = steering.grades
    assert (grade.epoch, grade.propensity) == (3, 0.5)


def test_audits_that_are_open_at_the_end_are_no_grade_and_are_billed(
    built: Stage, scene: Scene
) -> None:
    never = scene.event()
    steering = scene.steer()

    def answer(_: object) -> Reply:
        never.wait(5)
        return Reply()

    scene.stage.teacher.reply = answer
    scene.ask()
    context = built.gateway.context
    wait_until(lambda: scene.stage.teacher.requests)
    (task,) = context.background
    task.get_loop().call_soon_threadsafe(task.cancel)
    assert scene.audits() == []
    assert steering.grades == []
    bill = {"cascade": "assistant", "role": "teacher", "cause": "usage"}
    assert scene.counted("understudy_cost_unknown_total", **bill) == 1
