"""What a cascade takes of requests, over real sockets: at each bound, and one beyond it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.serving import Stage, stage

ADMISSION = {
    "max_messages": 3,
    "max_parts": 4,
    "max_tools": 2,
    "max_choices": 2,
    "max_tokens": 100,
}
TEXT = {"type": "text", "text": "Hello"}
USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "f"}}
HOST = "https://images.example.com/a.png"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    cascade = {"admission": ADMISSION, "media": {"hosts": ["images.example.com"]}}
    settings = {"max_body_members": 200, "max_body_entries": 300}
    folder = tmp_path_factory.mktemp("admission")
    with stage(folder, cascade=cascade, settings=settings) as built:
        yield built


def parts(count: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [TEXT] * count}]


@pytest.mark.parametrize(
    ("taken", "refused", "param", "code"),
    [
        ({"messages": [USER] * 3}, {"messages": [USER] * 4}, "messages", "array_above_max_length"),
        ({"messages": parts(4)}, {"messages": parts(5)}, "messages", "array_above_max_length"),
        ({"tools": [TOOL] * 2}, {"tools": [TOOL] * 3}, "tools", "array_above_max_length"),
        ({"n": 2}, {"n": 3}, "n", "integer_above_max_value"),
        ({"max_tokens": 100}, {"max_tokens": 101}, "max_tokens", "integer_above_max_value"),
        (
            {"max_completion_tokens": 100},
            {"max_completion_tokens": 101},
            "max_completion_tokens",
            "integer_above_max_value",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_at_a_bound_a_request_is_taken_and_beyond_it_the_bound_is_named(
    scene: Stage, taken: dict[str, Any], refused: dict[str, Any], param: str, code: str
) -> None:
    assert scene.ask(**taken).status_code == 200
    asked = len(scene.student.requests) + len(scene.teacher.requests)
    response = scene.ask(**refused)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert len(scene.student.requests) + len(scene.teacher.requests) == asked


def test_a_crowded_body_is_refused_before_it_is_read(scene: Stage) -> None:
    # The question itself is 1 object, 1 array, 1 object of 2 names, and 3 names.
    assert scene.ask(metadata={str(number): "{[:" for number in range(190)}).status_code == 200
    response = scene.ask(metadata={str(number): "{[:" for number in range(200)})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert "200 objects" in response.json()["error"]["message"]
    # Three entries of the question stand behind others.
    assert scene.ask(stop=[1] * 298).status_code == 200
    response = scene.ask(stop=[1] * 299)
    assert response.status_code == 413
    assert "300 entries" in response.json()["error"]["message"]


def test_what_is_said_of_a_stored_completion_is_counted_too(scene: Stage) -> None:
    crowd = {"metadata": {str(number): "" for number in range(200)}}
    response = scene.client.post("/v1/chat/completions/chatcmpl-1", json=crowd)
    assert response.status_code == 413


def test_pictures_pass_by_the_cascades_rules(scene: Stage) -> None:
    def ask(url: str) -> Any:
        picture = {"type": "image_url", "image_url": {"url": url}}
        return scene.ask(messages=[{"role": "user", "content": [TEXT, picture]}])

    assert ask(HOST).status_code == 200
    assert ask("data:image/png;base64,AA==").status_code == 200
    asked = len(scene.student.requests) + len(scene.teacher.requests)
    response = ask("https://10.0.0.1/latest/meta-data")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert error["code"] == "media_not_allowed"
    assert len(scene.student.requests) + len(scene.teacher.requests) == asked
    assert scene.metric("understudy_requests_total", cascade="other", outcome="rejected") > 0


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/completions", {"prompt": ["a"] * 4}, "prompt"),
        ("/v1/completions", {"prompt": "a", "max_tokens": 101}, "max_tokens"),
        ("/v1/responses", {"input": [USER] * 4}, "input"),
        ("/v1/responses", {"input": "a", "max_output_tokens": 101}, "max_output_tokens"),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "/a"}]}]},
            "input[0].content[0].image_url",
        ),
    ],
)
def test_other_protocols_have_the_same_bounds_in_their_own_words(
    scene: Stage, path: str, fields: dict[str, Any], param: str
) -> None:
    asked = len(scene.student.requests) + len(scene.teacher.requests)
    response = scene.client.post(path, json={"model": "assistant", **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert f"'{param}'" in response.json()["error"]["message"]
    assert len(scene.student.requests) + len(scene.teacher.requests) == asked


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ([{"type": "image", "source": {"type": "url", "url": "https://10.0.0.1/a"}}], 400, "URL"),
        ([{"type": "text", "text": "a"}, *[{"type": "text", "text": "a"}] * 4], 400, "parts"),
        ([{"type": "text", "text": "a", "x": [{}] * 300}], 413, "200 objects"),
    ],
)
def test_anthropics_protocol_has_them_in_its_form(
    scene: Stage, path: str, content: list[dict[str, Any]], status: int, words: str
) -> None:
    asked = len(scene.student.requests) + len(scene.teacher.requests)
    messages = [{"role": "user", "content": content}]
    body = {"model": "assistant", "max_tokens": 9, "messages": messages}
    response = scene.client.post(path, json=body)
    assert response.status_code == status
    assert response.json()["type"] == "error"
    assert words in response.json()["error"]["message"]
    assert len(scene.student.requests) + len(scene.teacher.requests) == asked
