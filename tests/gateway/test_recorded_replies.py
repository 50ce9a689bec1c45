"""Replies recorded from real servers, through a real gateway: what the client sees of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.recordings import CHAT, wholes
from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import Reply


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Every draft is kept, however unsure: the replies of a tiny model are not what is tested.
    keep_all = {"objective": {"kind": "confidence", "at_least": 0.0}, "degraded": "serve"}
    with stage(tmp_path_factory.mktemp("recorded"), cascade=keep_all) as built:
        built.teacher.reply = Reply(status=500)
        yield built


@pytest.mark.parametrize(("request_body", "path", "status"), wholes(is_success=True))
def test_a_recorded_answer_reaches_the_client_unchanged(
    scene: Stage, request_body: dict[str, Any], path: Path, status: int
) -> None:
    recorded = json.loads(path.read_text())
    scene.student.reply = Reply(body=path.read_bytes())
    response = scene.ask(**(request_body | {"model": "assistant"}))
    if response.status_code == 400:  # llama.cpp accepts what OpenAI and the gateway refuse
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        return
    expected = recorded | {"model": "assistant"}
    is_asked = request_body.get("logprobs")
    for choice in expected["choices"]:
        choice["logprobs"] = choice.get("logprobs") if is_asked else None
        for entry in (choice["logprobs"] or {}).get("content") or ():
            entry["top_logprobs"] = entry["top_logprobs"][: request_body.get("top_logprobs") or 0]
    assert response.json() == expected


@pytest.mark.parametrize(("request_body", "path", "status"), wholes(is_success=False))
def test_a_recorded_refusal_reaches_the_client_in_openai_s_form(
    scene: Stage, request_body: dict[str, Any], path: Path, status: int
) -> None:
    scene.student.reply = Reply(status=status, body=path.read_bytes())
    scene.teacher.reply = Reply(status=status, body=path.read_bytes())
    response = scene.client.post(CHAT, json=request_body | {"model": "assistant"})
    scene.gateway.models[0].breaker.succeeded()
    scene.gateway.models[1].breaker.succeeded()
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert response.status_code == (503 if status in (401, 404, 500) else 400)
