"""Whatever clients send, the metrics stay those of the configuration."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.types import ASGIApp

from gateway.app import Gateway, create_app
from gateway.wire.chat import GROUP_HEADER
from tests.fakes.calling import body_at_once, call
from tests.fakes.serving import PLAIN_HTTP, cascade_document, closed_port_url, load_gateway, serving
from tests.gateway.telemetry.test_series import series

KEY = {"authorization": "Bearer key-of-ann"}
SOCKETS = 200


def guarded(folder: Path) -> Gateway:
    """A gateway with keys, whose models are not to be had."""
    keys = folder / "keys.yaml"
    digest = hashlib.sha256(b"key-of-ann").hexdigest()
    keys.write_text(yaml.safe_dump({"keys": [{"name": "ann", "sha256": digest}]}))
    document = cascade_document(closed_port_url(), closed_port_url())
    return load_gateway(folder, document, {"keys_file": keys})


def question(model: str) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "?"}]}).encode()


def names(count: int) -> Iterator[str]:
    """Names that no configuration has, some of which break what puts them into a label."""
    dice = random.Random(1)
    for number in range(count):
        tail = "".join(chr(dice.randrange(33, 127)) for _ in range(dice.randrange(1, 40)))
        yield f"{number}{tail}"


async def send(app: ASGIApp, number: int, name: str) -> int:
    """One request that is wrong in one of five ways; its status."""
    match number % 5:
        case 0:
            response = await call(app, body_at_once(question(name)), headers=KEY)
        case 1:
            key = {"authorization": f"Bearer {name}"}
            response = await call(app, body_at_once(question("assistant")), headers=key)
        case 2:
            group = KEY | {GROUP_HEADER: f"group-{number}", "x-request-id": name}
            response = await call(app, body_at_once(question("assistant")), headers=group)
        case 3:
            path = "/v1/chat/completions"
            response = await call(app, body_at_once(b""), method=name, path=path, headers=KEY)
        case _:
            response = await call(app, body_at_once(b""), path=f"/{name}", headers=KEY)
    return response.status


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
async def test_so_many_junk_names_make_no_series(tmp_path: Path, count: int) -> None:
    gateway = guarded(tmp_path)
    app, metrics = create_app(gateway), gateway.context.observer.metrics
    junk = list(names(count))
    first = [await send(app, number, name) for number, name in enumerate(junk[:50])]
    assert set(first) == {404, 401, 503, 405}
    before = series(metrics.exposition())
    for number, name in enumerate(junk):
        await send(app, number, name)
    after = series(metrics.exposition())
    assert after == before
    read = metrics.registry.get_sample_value
    rejected = {"cascade": "other", "outcome": "rejected"}
    assert read("understudy_requests_total", rejected) == 2 * (count + 50) / 5
    assert not any(name.encode() in each for name in junk[::100] for each in after)


def test_nor_do_they_over_a_socket(tmp_path: Path) -> None:
    gateway = guarded(tmp_path)
    metrics = gateway.context.observer.metrics
    with (
        serving(create_app(gateway)) as url,
        httpx.Client(base_url=url, headers=KEY, trust_env=False, verify=PLAIN_HTTP) as client,
    ):
        first, *others = names(SOCKETS)

        def send_both(name: str) -> None:
            answer = client.post("/v1/chat/completions", json={"model": name, "messages": []})
            assert answer.status_code in (400, 404)
            assert client.request("PURGE", f"/{name[:1]}/pot").status_code in (404, 405)

        send_both(first)
        before = series(metrics.exposition())
        for name in others:
            send_both(name)
    assert series(metrics.exposition()) == before
