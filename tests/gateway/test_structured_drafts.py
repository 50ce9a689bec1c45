"""Drafts of which a form was asked, through a real gateway: who answers, and why."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import Reply, completion

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY}}
KEPT, DEFERRED = ("student", "confident"), ("teacher", "invalid_structure")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("structured")) as built:
        yield built


def called(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    message = {"tool_calls": [{"id": "call-1", "type": "function", "function": function}]}
    return completion("Now.", message=message, choice={"finish_reason": "tool_calls"})


@pytest.mark.parametrize(
    ("draft", "changes", "outcome"),
    [
        (called("weather", '{"city": "Paris"}'), {"tools": [TOOL]}, KEPT),
        (called("weather", '{"city": 5}'), {"tools": [TOOL]}, DEFERRED),
        (called("weather", ""), {"tools": [TOOL]}, DEFERRED),
        (called("time", "{}"), {"tools": [TOOL]}, DEFERRED),
        (completion('{"city": "Paris"}'), {"response_format": FORMAT}, KEPT),
        (completion('{"town": "Paris"}'), {"response_format": FORMAT}, DEFERRED),
        (completion("[1]"), {"response_format": {"type": "json_object"}}, DEFERRED),
    ],
)
def test_a_sure_draft_is_kept_only_in_the_form_that_was_asked_for(
    scene: Stage, draft: dict[str, Any], changes: dict[str, Any], outcome: tuple[str, str]
) -> None:
    scene.student.reply = Reply(body=draft)
    response = scene.ask(**changes)
    headers = response.headers
    assert (headers["x-understudy-served-by"], headers["x-understudy-reason"]) == outcome


def test_a_schema_that_cannot_be_used_does_not_fail_the_request(scene: Stage) -> None:
    scene.student.reply = Reply(body=completion('{"city": 5}'))
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    response = scene.ask(response_format=wanted)
    assert response.status_code == 200
    assert response.headers["x-understudy-served-by"] == "student"
    assert json.loads(response.json()["choices"][0]["message"]["content"]) == {"city": 5}
