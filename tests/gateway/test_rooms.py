"""What is too long for the student goes to the teacher, where that is known before it is asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import rooms
from gateway.errors import UpstreamUnavailable
from gateway.rooms import KEEP_SECONDS, RoomWatch
from gateway.upstream.openai import OpenAIModel
from routing.habits import Ratio
from routing.room import Room
from tests.fakes.serving import (
    Stage,
    cascade_document,
    closed_port_url,
    load_gateway,
    serving,
    stage,
    wait_until,
)
from tests.fakes.upstream import Reply, ScriptedModel

TOO_LONG = {
    "message": "This model's maximum context length is 2048 tokens. However, your prompt contains "
    "at least 2049 input tokens, which exceeds this limit even without any output tokens.",
    "type": "BadRequestError",
    "param": "input_tokens",
    "code": 400,
}


def room_of(server: OpenAIModel) -> Room | None:
    return server.room


class Told:
    """Hears what was learnt."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def room_learnt(self, _: object) -> None:
        self.event.set()


def listing_of(tokens: int | None) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "upstream-student", "max_model_len": tokens}]}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    student = ScriptedModel()
    student.listing = listing_of(2048)
    with (
        serving(student) as url,
        stage(tmp_path_factory.mktemp("rooms"), student_url=url) as built,
    ):
        built.student = student
        wait_until(lambda: built.gateway.models[0].room)
        yield built


@pytest.fixture(autouse=True)
def beginning(scene: Stage) -> None:
    for model in (scene.student, scene.teacher):
        model.requests.clear()
        model.reply = Reply()
    # Four bytes of a request are a token.
    scene.gateway.context.served["assistant"].cascade.student.habits.read = Ratio(10**5, 4 * 10**5)


def served_by(scene: Stage, **changes: Any) -> tuple[str, int]:
    """Who answered and why, and how often the student was asked."""
    response = scene.ask(**changes)
    assert response.status_code == 200
    _ = response.text
    why = f"{response.headers['x-understudy-served-by']}, {response.headers['x-understudy-reason']}"
    return why, len(scene.student.requests)


LONG = {"messages": [{"role": "user", "content": "word " * 4000}]}  # 20,000 bytes


@pytest.mark.parametrize("how", [{}, {"stream": True}], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "changes", [{"max_tokens": 4096}, {"max_completion_tokens": 2048}, LONG], ids=str
)
def test_what_cannot_fit_is_the_teachers(
    scene: Stage, changes: dict[str, Any], how: dict[str, Any]
) -> None:
    assert served_by(scene, **changes, **how) == ("teacher, student_cannot", 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 2000},
        {"messages": [{"role": "user", "content": "word " * 3000}]},
        LONG | {"truncate_prompt_tokens": 100},
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 30_000}}
        ]}]},
    ],
    ids=["an answer with room", "perhaps", "cut by the server", "a picture"],
)  # fmt: skip
def test_what_may_fit_is_the_students(scene: Stage, changes: dict[str, Any]) -> None:
    assert served_by(scene, **changes) == ("student, confident", 1)


def test_of_the_length_the_student_is_the_judge(scene: Stage) -> None:
    scene.student.reply = Reply(status=400, body={"error": TOO_LONG})
    assert served_by(scene) == ("teacher, student_cannot", 1)


@pytest.mark.parametrize("changes", [{}, LONG], ids=["by its word", "before it is asked"])
def test_what_is_too_long_for_both_is_the_teachers_own_error(
    scene: Stage, changes: dict[str, Any]
) -> None:
    scene.student.reply = Reply(status=400, body={"error": TOO_LONG})
    own = TOO_LONG | {"message": "context length: mine"}
    scene.teacher.reply = Reply(status=400, body={"error": own})
    response = scene.ask(**changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["message"], error["param"]) == ("context length: mine", "input_tokens")
    assert error["code"] == "context_length_exceeded"


async def test_servers_are_asked_again_now_and_then(tmp_path: Path) -> None:
    student = ScriptedModel()
    with serving(student) as url:
        built = load_gateway(tmp_path, cascade_document(url, closed_port_url()))
        (server, _), now = built.models, 1000.0
        built.context.clock = lambda: now
        watch = RoomWatch(built.context)
        await watch.look()
        assert room_of(server) is None  # it has no list
        student.listing = listing_of(4096)
        await watch.look()
        assert room_of(server) is None
        now += KEEP_SECONDS
        await watch.look()
        assert room_of(server) == Room(4096, is_answer_counted=True)
        student.listing = listing_of(None)
        now += KEEP_SECONDS
        await watch.look()
        assert room_of(server) is None


async def test_a_server_that_comes_up_late_is_asked_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.01)
    built = load_gateway(tmp_path, cascade_document(closed_port_url(), closed_port_url()))
    (server, _), asked = built.models, 0

    async def ask(_: object) -> Room:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise UpstreamUnavailable("away")
        return Room(4096, is_answer_counted=True)

    monkeypatch.setattr(rooms, "ask_for_room", ask)
    built.context.observer = told = Told()  # type: ignore[assignment]  # all that it hears here
    async with RoomWatch(built.context).running(), asyncio.timeout(5):
        await told.event.wait()
    assert asked == 3
    assert server.room == Room(4096, is_answer_counted=True)
