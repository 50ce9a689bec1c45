"""What a client sees of its key: what exists for it, and how much of it at once."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.fakes.serving import Stage, stage


def entry(name: str, **said: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"key-of-{name}".encode()).hexdigest(), **said}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("keys")
    path = folder / "keys.yaml"
    entries = [
        entry("all"),
        entry("some", models=["writer"]),
        entry("one", limits={"max_open_requests": 1}),
        entry("old", expires="2026-01-01"),
        entry("pins", models=["writer"], may_pin=True),
        entry("cheap", models=["writer"], may_pin=True, may_escalate=False),
    ]
    path.write_text(yaml.safe_dump({"keys": entries}))
    with stage(folder, settings={"keys_file": path}, others={"writer": {}}) as scene:
        yield scene


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer key-of-{name}"}


def ask(scene: Stage, **headers: str) -> Any:
    return scene.client.post("/v1/chat/completions", json=scene.question, headers=headers)


def test_a_key_sees_the_models_that_it_may_ask_for(scene: Stage) -> None:
    pinned = ["writer", "writer:student", "writer:teacher"]
    expected = {
        "all": ["assistant", "writer"],
        "some": ["writer"],
        "pins": pinned,
        "cheap": pinned[:2],
    }
    for name, models in expected.items():
        listed = scene.client.get("/v1/models", headers=bearer(name)).json()["data"]
        assert [model["id"] for model in listed] == models


def test_a_model_that_a_key_may_not_ask_for_does_not_exist(scene: Stage) -> None:
    mine = scene.client.get("/v1/models/writer", headers=bearer("some"))
    assert mine.json()["id"] == "writer"
    pin = scene.client.get("/v1/models/writer:student", headers=bearer("pins"))
    assert pin.json()["id"] == "writer:student"
    for path, name in (("writer:student", "some"), ("writer:teacher", "cheap")):
        assert scene.client.get(f"/v1/models/{path}", headers=bearer(name)).status_code == 404
    refusals = [
        scene.client.get("/v1/models/assistant", headers=bearer("some")),
        ask(scene, **bearer("some")),
    ]
    nowhere = scene.client.get("/v1/models/nowhere", headers=bearer("all"))
    for refusal in refusals:
        assert refusal.status_code == 404
        assert refusal.text == nowhere.text.replace("nowhere", "assistant")


def test_x_api_key_does_as_well(scene: Stage) -> None:
    assert ask(scene, **{"x-api-key": "key-of-all"}).status_code == 200
    assert scene.client.get("/v1/models", headers={"x-api-key": "key-of-all"}).status_code == 200


def test_two_keys_that_differ_are_refused(scene: Stage) -> None:
    response = ask(scene, **bearer("all"), **{"x-api-key": "key-of-some"})
    assert response.status_code == 401
    assert "different keys" in response.json()["error"]["message"]


def test_an_expired_key_is_told_so(scene: Stage) -> None:
    response = ask(scene, **bearer("old"))
    assert response.status_code == 401
    assert response.json()["error"] == {
        "message": "This key expired at 2026-01-01T00:00:00Z.",
        "type": "invalid_request_error",
        "param": None,
        "code": "key_expired",
    }


def test_one_open_request_too_many_is_refused_and_the_next_is_not(scene: Stage) -> None:
    keys = scene.gateway.context.keys
    tenant = keys.tenant(b"Bearer key-of-one")
    keys.begin(tenant)
    refused = ask(scene, **bearer("one"))
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert ask(scene, **bearer("all")).status_code == 200
    keys.end(tenant)
    assert ask(scene, **bearer("one")).status_code == 200
    assert ask(scene, **bearer("one"), **{"content-type": "text/plain"}).status_code == 415
    assert ask(scene, **bearer("one")).status_code == 200
