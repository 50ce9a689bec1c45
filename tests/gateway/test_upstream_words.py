"""What model servers say of a failure, through a whole gateway: what a client gets to read."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.fakes.serving import Stage, serving, stage
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion

KEY = "teacher-secret"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, str]]:
    teacher = ScriptedModel()
    with serving(teacher) as url:
        cascade = {"teacher": {"api_key_env": "TEACHER_KEY"}, "student": {"cannot": ["tools"]}}
        folder = tmp_path_factory.mktemp("discretion")
        with stage(folder, cascade=cascade, teacher_url=url) as built:
            built.teacher = teacher
            yield built, url.removeprefix("http://")


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_server_that_tells_all_it_knows_is_not_quoted(
    scene: tuple[Stage, str], status: int, *, is_stream: bool
) -> None:
    built, place = scene
    teacher = built.teacher

    def telltale(_: Mapping[str, Any]) -> Reply:
        headers = teacher.headers[-1]
        assert headers["authorization"] == f"Bearer {KEY}"
        words = f"{headers['authorization']} at http://{headers['host']}/v1/chat/completions: no"
        said = {"message": words, "type": words, "param": words, "code": words}
        return Reply(status=status, body={"error": said}, headers={"x-server": place})

    teacher.reply = telltale
    response = built.ask(tools=TOOLS, stream=is_stream)
    told = response.text + str(response.headers)
    for secret in (KEY, place, place.partition(":")[2], "http://"):
        assert secret not in told
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    is_mistake = status in (400, 422)
    assert response.status_code == (status if is_mistake else 503)
    assert (response.json()["error"]["message"] == "Bearer *** at ***: no") is is_mistake
    for server in built.gateway.models:
        server.breaker.succeeded()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            {"message": "m", "type": "t", "param": "p", "code": "c"},
        ),
        (
            {"error": {"message": "m", "type": "BadRequestError", "param": None, "code": 400}},
            {"message": "m", "type": "BadRequestError", "param": None, "code": "invalid_request"},
        ),
        (
            {"error": "no"},
            {"message": "no", "type": "invalid_request_error", "param": None}
            | {"code": "invalid_request"},
        ),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "bad", "type": "x"}]},
            {"message": "bad", "type": "invalid_request_error", "param": "messages.0"}
            | {"code": "invalid_request"},
        ),
    ],
    ids=["OpenAI", "vLLM", "a text", "FastAPI"],
)
def test_a_clients_mistake_is_told_as_the_server_told_it(
    scene: tuple[Stage, str], body: dict[str, Any], expected: dict[str, Any]
) -> None:
    built, _ = scene
    built.teacher.reply = Reply(status=422, body=body)
    response = built.ask(tools=TOOLS)
    assert (response.status_code, response.json()["error"]) == (422, expected)


def test_of_a_degraded_answer_nothing_is_told_but_that(scene: tuple[Stage, str]) -> None:
    built, place = scene
    built.student.reply = Reply(body=completion("Rome?", UNSURE))
    built.teacher.reply = Reply(status=401, body={"error": f"Unauthorized at {place}"})
    response = built.ask()
    assert response.headers["x-understudy-degraded"] == "teacher_failed"
    assert place not in response.text + str(response.headers)
