import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from gateway import startup
from gateway.app import Gateway
from gateway.building import build_model
from gateway.cascades import load_cascades
from gateway.facts import CANCELLED
from gateway.legs import Legs, Model
from gateway.upstream.pool import ServerPool
from gateway.upstream.probe import (
    MOST_CHARACTERS,
    NOT_PROBED,
    PREFIX,
    PROBE_TOKENS,
    QUESTION,
    Continuation,
    judge,
    probe,
)
from gateway.upstream.questions import Attempt, Question, ask_until_answered
from routing.vocabulary import Role
from tests.fakes.chunks import chunk
from tests.fakes.script import ROLE, Pause, Raw, Words, finish, whole
from tests.fakes.serving import (
    cascade_document,
    closed_port_url,
    load_gateway,
    serving,
    stage,
    wait_until,
)
from tests.fakes.upstream import Reply, ScriptedModel

GOES_ON = Reply(steps=whole([" ", "4", ",", " 5"]))
BEGINS_AGAIN = Reply(steps=whole(["1", ", 2", ", 3", ", 4"]))


@pytest.fixture
def scripted() -> ScriptedModel:
    return ScriptedModel(GOES_ON)


@pytest.fixture
def teacher(tmp_path: Path, scripted: ScriptedModel) -> Iterator[Model]:
    with serving(scripted) as url:
        yield teacher_at(tmp_path, url)


def teacher_at(folder: Path, url: str, **changes: Any) -> Model:
    path = folder / "c.yaml"
    document = cascade_document(url, url, teacher={"timeout_seconds": 5} | changes)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    (loaded,) = load_cascades(path, lambda _: None)
    return build_model(loaded, Role.TEACHER, lambda _: None)


async def until(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        for _ in itertools.count():
            if is_true():
                return
            await asyncio.sleep(0.01)


def close(model: Model) -> None:
    assert isinstance(model.chat, ServerPool)
    model.chat.close()


@pytest.mark.parametrize("text", [" 4, 5", " 4", "\n4,", "  4."])
def test_a_model_that_writes_the_next_number_goes_on(text: str) -> None:
    assert judge(text, has_reasoning=False).can_continue is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1, 2, 3, 4",  # it begins again
        " 1, 2, 3, 4",
        "4, 5",  # a new turn, or a lost blank: "3,4"
        " 5",
        " 45",
        " four",
        "Sure! 4, 5",
    ],
)
def test_any_other_text_is_a_no(text: str) -> None:
    found = judge(text, has_reasoning=False)
    assert found.can_continue is False
    assert repr(text) in found.saw


def test_reasoning_first_is_a_no() -> None:
    assert judge(" 4", has_reasoning=True).can_continue is False


async def test_the_teacher_is_asked_as_it_would_be_for_a_client(
    teacher: Model, scripted: ScriptedModel
) -> None:
    legs = Legs(time.monotonic)
    found = await probe(teacher, legs)
    assert found == Continuation(True, "after '1, 2, 3,' it wrote ' 4, 5'")
    (request,) = scripted.requests
    assert request["messages"] == [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": PREFIX.text},
    ]
    assert request["continue_final_message"] is True
    assert request["add_generation_prompt"] is False
    assert request["temperature"] == 0
    assert request["max_tokens"] == PROBE_TOKENS
    assert request["stream"] is True
    (leg,) = legs.made
    assert leg.usage is not None
    assert leg.error is None
    assert leg.cost_pico
    close(teacher)


async def test_what_only_looks_like_an_answer_is_a_no(
    teacher: Model, scripted: ScriptedModel
) -> None:
    scripted.reply = BEGINS_AGAIN
    assert (await probe(teacher, Legs(time.monotonic))).can_continue is False
    reasoning = Raw(chunk({"reasoning_content": "The user"}))
    scripted.reply = Reply(steps=[ROLE, reasoning, *finish("length")])
    assert (await probe(teacher, Legs(time.monotonic))).can_continue is False
    close(teacher)


async def test_a_refusal_is_an_answer(teacher: Model, scripted: ScriptedModel) -> None:
    words = "unknown field: continue_final_message"
    scripted.reply = Reply({"error": {"message": words, "type": "x"}}, status=400)
    found = await probe(teacher, Legs(time.monotonic))
    assert found == Continuation(False, f"refused: {words}")
    close(teacher)


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_server_at_odds_with_the_gateway_gives_no_answer(
    teacher: Model, scripted: ScriptedModel, status: int
) -> None:
    scripted.reply = Reply({}, status=status)
    legs = Legs(time.monotonic)
    assert (await probe(teacher, legs)).can_continue is None
    assert legs.made[0].error is not None
    close(teacher)


async def test_a_server_that_is_not_there_gives_no_answer_and_is_left_alone(tmp_path: Path) -> None:
    teacher = teacher_at(tmp_path, closed_port_url())
    for _ in range(5):
        assert (await probe(teacher, legs := Legs(time.monotonic))).can_continue is None
        assert legs.made
    assert (await probe(teacher, legs := Legs(time.monotonic))).can_continue is None
    assert not legs.made  # the breaker is open


async def test_a_server_without_limits_is_stopped(teacher: Model, scripted: ScriptedModel) -> None:
    scripted.reply = Reply(steps=[ROLE, Words([" 4,"] * MOST_CHARACTERS), Pause(60), *finish()])
    legs = Legs(time.monotonic)
    async with asyncio.timeout(5):
        assert (await probe(teacher, legs)).can_continue is True
    assert legs.made[0].error is None
    close(teacher)


async def test_it_is_asked_until_there_is_an_answer(
    teacher: Model, scripted: ScriptedModel
) -> None:
    replies = iter([Reply({}, status=500), Reply({}, status=500), BEGINS_AGAIN])
    scripted.reply = lambda _: next(replies)
    told: list[Attempt[Continuation]] = []
    question = Question(lambda legs: probe(teacher, legs), NOT_PROBED)
    answer = await ask_until_answered(question, time.monotonic, told.append, 0.0)
    assert answer.can_continue is False
    assert [attempt.number for attempt in told] == [1, 2, 3]
    assert [attempt.found.can_continue for attempt in told] == [None, None, False]
    assert [len(attempt.legs) for attempt in told] == [1, 1, 1]
    close(teacher)


async def test_a_probe_that_is_cancelled_is_on_the_bill(
    teacher: Model, scripted: ScriptedModel
) -> None:
    scripted.reply = Reply(delay_seconds=60)
    told: list[Attempt[Continuation]] = []
    question = Question(lambda legs: probe(teacher, legs), NOT_PROBED)
    asking = ask_until_answered(question, time.monotonic, told.append, 0.0)
    task = asyncio.create_task(asking)
    await until(lambda: scripted.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = told
    assert attempt.found == NOT_PROBED
    assert [leg.error for leg in attempt.legs] == [CANCELLED]
    close(teacher)


# The same in a gateway.

Value = Callable[..., float | None]


def value_of(registry: CollectorRegistry) -> Value:
    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"cascade": "assistant"} | labels)

    return value


def gateway_between(folder: Path, teacher_url: str, handover: str) -> tuple[Gateway, Value]:
    document = cascade_document(
        closed_port_url(), teacher_url, streaming={"handover": handover, "hold_tokens": 16}
    )
    built = load_gateway(folder, document)
    return built, value_of(built.context.observer.metrics.registry)


@pytest.mark.parametrize(("reply", "expected"), [(GOES_ON, True), (BEGINS_AGAIN, False)])
async def test_a_gateway_that_starts_finds_out_and_pays(
    tmp_path: Path, reply: Reply, *, expected: bool
) -> None:
    with serving(ScriptedModel(reply)) as url:
        built, value = gateway_between(tmp_path, url, "continue")
        teacher = built.context.served["assistant"].cascade.teacher
        assert value("understudy_teacher_continues") == 0
        async with built.running():
            await until(lambda: not built.context.background)
            assert teacher.chat.can_continue is expected
        assert value("understudy_teacher_continues") == expected
        audit = value("understudy_cost_usd_total", role="teacher", kind="audit")
        assert audit == pytest.approx((100 * 0.60 + 10 * 2.40) / 1e6)


@pytest.mark.parametrize("handover", ["never", "restart"])
async def test_nobody_is_asked_what_no_cascade_wants_to_know(
    tmp_path: Path, handover: str, scripted: ScriptedModel
) -> None:
    with serving(scripted) as url:
        built, value = gateway_between(tmp_path, url, handover)
        async with built.running():
            assert not built.context.background
        assert scripted.requests == []
        assert value("understudy_teacher_continues") is None


async def test_a_teacher_that_comes_up_late_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: ScriptedModel
) -> None:
    monkeypatch.setattr(startup, "RETRY_SECONDS", 0.01)
    replies = iter([Reply({}, status=503)] * 2 + [GOES_ON])
    scripted.reply = lambda _: next(replies)
    with serving(scripted) as url:
        built, value = gateway_between(tmp_path, url, "continue")
        async with built.running():
            await until(lambda: value("understudy_teacher_continues") == 1)
        assert value(
            "understudy_upstream_errors_total", role="teacher", code="upstream_unavailable"
        )


async def test_a_gateway_that_stops_waits_for_no_teacher(
    tmp_path: Path, scripted: ScriptedModel
) -> None:
    scripted.reply = Reply(delay_seconds=60)
    with serving(scripted) as url:
        built, value = gateway_between(tmp_path, url, "continue")
        started = time.monotonic()
        async with built.running():
            await until(lambda: scripted.requests)
        assert time.monotonic() - started < 5
        assert value("understudy_upstream_errors_total", role="teacher", code="cancelled") == 1
        assert value("understudy_cost_unknown_total", role="teacher", cause="usage") == 1


def test_a_served_gateway_answers_meanwhile(tmp_path: Path) -> None:
    slow = ScriptedModel(Reply(delay_seconds=60))
    streaming = {"handover": "continue"}
    with (
        serving(slow) as url,
        stage(tmp_path, teacher_url=url, cascade={"streaming": streaming}) as scene,
    ):
        assert scene.ask().status_code == 200
        wait_until(lambda: slow.requests)
