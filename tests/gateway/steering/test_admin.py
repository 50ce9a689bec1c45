"""What operators see of objectives, and how they change them, over HTTP."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway.steering import loop
from gateway.stores import objective_store
from tests.fakes.serving import Stage, closed_port_url, stage, wait_until
from tests.fakes.valkey import store_server

ONE = "/admin/cascades/assistant"
OBJECTIVE = f"{ONE}/objective"
RATE: dict[str, Any] = {"kind": "escalation_rate", "at_most": 0.25}
QUALITY: dict[str, Any] = {
    "kind": "quality",
    "disagreement_at_most": 0.05,
    "with_probability": 0.95,
}
SPEND: dict[str, Any] = {"kind": "spend", "usd_per_hour": 12, "cap_usd_per_hour": 20}


def entry(name: str, **said: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"key-of-{name}".encode()).hexdigest(), **said}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("admin")
    keys = folder / "keys.yaml"
    entries = [
        entry("ops", may_administer=True),
        entry("client"),
        entry("other", may_administer=True, models=["writer"]),
    ]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    settings = {"keys_file": keys}
    others: dict[str, Any] = {"writer": {}, "policy": {"objective": None}}
    cascade = {"objective": RATE, "audit": {"share": 0.1, "usd_per_hour": 1}}
    with stage(folder, cascade=cascade, settings=settings, others=others) as scene:
        yield scene


def version_of(scene: Stage) -> str:
    return scene.client.get(ONE).headers["etag"]


def put(
    scene: Stage, objective: Any, *, key: str = "ops", version: str | None = None, at: str = ""
) -> httpx.Response:
    headers = {
        "authorization": f"Bearer key-of-{key}",
        "content-type": "application/json",
        "if-match": version_of(scene) if version is None else version,
    }
    return scene.client.put(at or OBJECTIVE, content=json.dumps(objective), headers=headers)


def delete(scene: Stage, *, key: str = "ops") -> httpx.Response:
    """As curl does: it has no body, and says nothing of one."""
    headers = {"authorization": f"Bearer key-of-{key}", "if-match": version_of(scene)}
    return scene.client.request("DELETE", OBJECTIVE, headers=headers)


def missing(scene: Stage) -> list[str]:
    found = scene.client.get(ONE).json()["missing"]
    assert isinstance(found, list)
    return found


def refused(reply: httpx.Response, status: int, code: str) -> str:
    """The message of a refusal in OpenAI's form."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return str(error["message"])


def test_all_cascades_are_shown_with_what_they_are_held_to(scene: Stage) -> None:
    shown = scene.client.get("/admin/cascades").json()["cascades"]
    assert [each["cascade"] for each in shown] == ["assistant", "policy", "writer"]
    steered, _, own = shown
    assert steered["objective"] == RATE
    assert steered["is_in_force"] is True
    assert steered["line"].startswith("rate: at most 25.0%")
    assert steered["controller"]["is_here"] is True
    assert steered["missing"]
    assert (own["objective"], own["missing"]) == (None, [])
    assert own["threshold"] == 0.8


def test_another_objective_holds_at_once_and_is_remembered_with_its_key(scene: Stage) -> None:
    before = scene.client.get(ONE).json()["ordered"]["version"]
    reply = put(scene, QUALITY)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert told["objective"] == QUALITY | {"release": 0.8, "hold_at_most": 6000}
    assert reply.headers["etag"] == f'"{before + 1}"'
    assert told["ordered"]["by"] == "ops"

    def holds() -> bool:
        shown = scene.client.get(ONE).json()
        assert shown["is_in_force"] or not shown["keeps_nothing"]
        return bool(shown["keeps_nothing"]) and shown["threshold"] is None

    wait_until(holds)
    scene.ask(model="assistant")
    assert scene.metric("understudy_objective_version", cascade="assistant") == before + 1
    entries = scene.client.get(
        f"{OBJECTIVE}/history", headers={"authorization": "Bearer key-of-client"}
    )
    last = entries.json()["entries"][-1]
    assert (last["version"], last["by"]) == (before + 1, "ops")
    assert last["after"]["kind"] == "quality"
    assert delete(scene).json()["ordered"]["is_from_file"] is True
    wait_until(lambda: scene.client.get(ONE).json()["line"].startswith("rate"))


def test_audits_that_nobody_pays_are_missing_where_a_promise_rests_on_them(scene: Stage) -> None:
    steered = scene.gateway.context.served["assistant"].steered
    assert steered is not None
    steered.audit_spent(10**12)
    assert not any("money" in each for each in missing(scene))
    assert put(scene, QUALITY).status_code == 200
    wait_until(lambda: any("judged requests" in each for each in missing(scene)))
    judged, money = missing(scene)
    assert "judged requests" in judged
    assert money.startswith("money for audits")
    steered.audit_spent(-(10**12))
    assert len(missing(scene)) == 1
    assert delete(scene).status_code == 200
    wait_until(lambda: scene.client.get(ONE).json()["line"].startswith("rate"))


def test_a_promise_that_was_ordered_counts_conversations(scene: Stage) -> None:
    context = scene.gateway.context
    assert not context.served["assistant"].is_remembering
    assert put(scene, QUALITY).status_code == 200
    wait_until(lambda: context.served["assistant"].is_remembering)
    assert delete(scene).status_code == 200
    wait_until(lambda: not context.served["assistant"].is_remembering)


def test_money_is_shown_as_it_was_set(scene: Stage) -> None:
    told = put(scene, SPEND).json()
    assert told["objective"] == SPEND
    wait_until(lambda: scene.client.get(ONE).json()["cap_usd_per_hour"] == 20)
    wait_until(lambda: scene.client.get(ONE).json()["replica"]["cap_left_usd"] is not None)
    replica = scene.client.get(ONE).json()["replica"]
    assert (replica["teacher_pressure"], replica["teacher_pressed_by"]) == (0.0, None)
    steered = scene.gateway.ordering.links["assistant"].steered
    steered.pressure, steered.pressed_by = 0.5, "20 waiting"
    shown = scene.client.get(ONE).json()
    steered.pressure, steered.pressed_by = 0.0, ""
    assert shown["replica"]["threshold"] == pytest.approx(shown["threshold"] / 2)
    assert shown["replica"]["teacher_pressed_by"] == "20 waiting"
    assert delete(scene).status_code == 200


def test_of_many_that_change_one_version_at_once_one_does(scene: Stage) -> None:
    version = version_of(scene)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: put(scene, SPEND, version=version), range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 412, 412, 412]
    assert delete(scene).status_code == 200


def test_only_a_key_with_the_right_changes_anything(scene: Stage) -> None:
    before = scene.client.get(ONE).json()["ordered"]["version"]
    assert "may not set objectives" in refused(
        put(scene, QUALITY, key="client"), 403, "not_allowed"
    )
    refused(put(scene, QUALITY, key="nobody"), 401, "invalid_api_key")
    refused(put(scene, QUALITY, key="other"), 404, "model_not_found")
    refused(delete(scene, key="client"), 403, "not_allowed")
    assert scene.client.get(ONE).json()["ordered"]["version"] == before


def test_who_does_not_know_what_holds_replaces_nothing(scene: Stage) -> None:
    assert "read it again" in refused(
        put(scene, QUALITY, version='"999"'), 412, "objective_changed"
    )
    assert "If-Match" in refused(put(scene, QUALITY, version="*"), 400, "invalid_request")
    assert scene.client.get(ONE).json()["objective"] == RATE


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"kind": "escalation_rate", "at_most": 1.5}, "at_most: Input should be less than 1"),
        ({"kind": "escalation_rate"}, "at_most: Field required"),
        (RATE | {"colour": "red"}, "colour"),
        ({"kind": "confidence", "at_least": 0.5}, "does not match any of the expected tags"),
        (SPEND | {"cap_usd_per_hour": 12}, "cap_usd_per_hour: must be at least"),
        (SPEND | {"usd_per_hour": 1e300}, "usd_per_hour: Input should be less than"),
        (QUALITY | {"disagreement_at_most": 0.6}, "disagreement_at_most"),
        ([], "Not an objective"),
    ],
)
def test_what_a_file_could_not_say_is_refused(scene: Stage, objective: Any, words: str) -> None:
    assert words in refused(put(scene, objective), 400, "invalid_request")
    assert scene.client.get(ONE).json()["objective"] == RATE


def test_what_is_nested_without_an_end_is_refused(scene: Stage) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    headers = {
        "authorization": "Bearer key-of-ops",
        "content-type": "application/json",
        "if-match": version_of(scene),
    }
    reply = scene.client.put(OBJECTIVE, content=deep, headers=headers)
    assert "nested too deeply" in refused(reply, 400, "invalid_request")


def test_a_cascade_that_nobody_steers_has_no_objective_to_change(scene: Stage) -> None:
    for name in ("writer", "policy"):  # a confidence, and none
        reply = put(scene, RATE, at=f"/admin/cascades/{name}/objective")
        message = refused(reply, 404, "model_not_supported")
        assert "Nobody steers" in message
        assert "configuration and start it again" in message
    refused(put(scene, RATE, at="/admin/cascades/none/objective"), 404, "model_not_found")
    refused(scene.client.get("/admin/cascades/none"), 404, "model_not_found")


def test_what_was_ordered_holds_after_a_start(tmp_path: Path) -> None:
    for expected in (0, 1):
        with stage(tmp_path, cascade={"objective": RATE}) as scene:
            shown = scene.client.get(ONE).json()
            assert shown["ordered"]["version"] == expected
            if not expected:
                assert put(scene, RATE | {"at_most": 0.5}).status_code == 200
            else:
                assert shown["objective"] == RATE | {"at_most": 0.5}


def test_two_gateways_with_one_store_follow_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective_store, "SECONDS", 20.0)  # a busy machine takes its time
    folders = [tmp_path / name for name in ("store", "one", "two")]
    for folder in folders:
        folder.mkdir()
    with store_server(folders[0]) as server:
        settings = {"redis_url": server.url}
        cascade = {"objective": RATE}
        with (
            stage(folders[1], cascade=cascade, settings=settings) as one,
            stage(folders[2], cascade=cascade, settings=settings) as other,
        ):
            assert put(one, RATE | {"at_most": 0.5}).status_code == 200

            def follows() -> bool:
                shown = other.client.get(ONE).json()
                return bool(shown["objective"]["at_most"] == 0.5)

            wait_until(follows)
            server.stop()
            message = refused(put(one, RATE), 503, "store_unavailable")
            assert "read the objective again" in message
            history = one.client.get(f"{OBJECTIVE}/history")
            refused(history, 503, "store_unavailable")
            assert one.client.get("/readyz").status_code == 200
            assert one.ask().status_code == 200


def test_a_start_without_its_store_goes_by_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "START_SECONDS", 0.1)
    cascade = {"objective": RATE}
    with stage(tmp_path, cascade=cascade) as scene:
        assert put(scene, QUALITY).status_code == 200
        wait_until(lambda: scene.client.get(ONE).json()["keeps_nothing"])
    away = {"redis_url": closed_port_url().replace("http", "redis") + "/0"}
    with stage(tmp_path, cascade=cascade, settings=away) as scene:
        shown = scene.client.get(ONE).json()
        assert (shown["ordered"]["version"], shown["keeps_nothing"]) == (1, True)
        assert scene.client.get("/readyz").status_code == 200
        assert scene.ask().headers["x-understudy-served-by"] == "teacher"
