"""Every example of the document is sent to a gateway, which answers as the document says."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.api.wires import WIRES
from tests.contract.documented import (
    DOCUMENT,
    faults,
    operations,
    resolved,
    response_of,
    whole_gateway,
)
from tests.fakes.serving import Stage, wait_until

OPERATIONS = {told["operationId"]: (path, method, told) for path, method, told in operations()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with whole_gateway(tmp_path_factory.mktemp("openapi")) as built:
        yield built


def cases() -> Iterator[Any]:
    """Each example of a body, and one request for each operation without any."""
    for name, (_, _, told) in OPERATIONS.items():
        if "requestBody" not in told:
            yield pytest.param(name, None, id=name)
            continue
        for example, each in told["requestBody"]["content"]["application/json"]["examples"].items():
            yield pytest.param(name, each["value"], id=f"{name}-{example}")


def ask(scene: Stage, name: str, body: Any) -> httpx.Response:
    path, method, told = OPERATIONS[name]
    for parameter in told.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    headers = {}
    if any(parameter["name"] == "if-match" for parameter in told.get("parameters", ())):
        headers["if-match"] = ask(scene, "getCascade", None).headers["etag"]
    return scene.client.request(method, path, json=body, headers=headers)


def stored_first(scene: Stage) -> None:
    """Have a completion stored, under the id that the document's examples ask for."""
    stored = OPERATIONS["createChatCompletion"][2]["requestBody"]["content"]["application/json"]
    scene.ask(**stored["examples"]["stored"]["value"])
    wait_until(lambda: ask(scene, "getChatCompletion", None).status_code == 200)


@pytest.mark.parametrize(("name", "body"), list(cases()))
def test_an_example_is_answered_as_it_is_described(scene: Stage, name: str, body: Any) -> None:
    told = OPERATIONS[name][2]
    if "stored completions" in told["tags"]:
        stored_first(scene)
    answer = ask(scene, name, body)
    assert answer.status_code == 200, answer.text
    described = response_of(told, 200)
    kind = answer.headers["content-type"].partition(";")[0]
    schema = described["content"][kind]["schema"]
    assert not faults(schema, answer.text if kind.startswith("text/") else answer.json())
    assert (kind == "text/event-stream") is bool(body and body.get("stream"))
    ours = {each for each in answer.headers if each.startswith("x-") or each == "request-id"}
    assert ours - {"x-accel-buffering"} <= set(described.get("headers", {}))


WITH_BODIES = sorted(name for name, (_, _, told) in OPERATIONS.items() if "requestBody" in told)


@pytest.mark.parametrize("name", WITH_BODIES)
def test_what_is_no_request_is_refused_in_the_form_that_is_described(
    scene: Stage, name: str
) -> None:
    path, _, told = OPERATIONS[name]
    answer = ask(scene, name, ["no", "object"])
    assert answer.status_code == 400
    described = response_of(told, 400)
    assert not faults(described["content"]["application/json"]["schema"], answer.json())
    assert ("type" in answer.json()) is path.startswith("/v1/messages")


def test_an_example_of_an_error_is_of_its_schema() -> None:
    for response in DOCUMENT["components"]["responses"].values():
        media = response["content"]["application/json"]
        for example in media.get("examples", {}).values():
            assert not faults(media["schema"], resolved(example)["value"])


def test_examples_of_bodies_are_of_their_schema() -> None:
    for _, _, told in operations():
        for media in told.get("requestBody", {}).get("content", {}).values():
            for example in media["examples"].values():
                assert not faults(media["schema"], example["value"])


def test_the_gateway_serves_what_is_documented(scene: Stage) -> None:
    answer = scene.client.get("/openapi.json", headers={"authorization": "Bearer unknown"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert scene.client.get("/openapi.json").content == answer.content


def test_every_route_is_documented(scene: Stage) -> None:
    described = {(path, method) for path, method, _ in operations()}
    assert {(path, "post") for path in WIRES} <= described
    for path, method in described:
        assert scene.client.request("PATCH", path).status_code == 405, (path, method)
