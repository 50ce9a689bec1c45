"""What clients had stored outlives an outage of Redis, and the gateway that wrote it."""

import signal
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import ScriptedModel
from tests.fakes.valkey import store_server
from tests.wire_server.process import gateway_process

CHAT = "/v1/chat/completions"
ASKED = {"model": "assistant", "messages": [{"role": "user", "content": "x"}], "store": True}


def test_a_completion_survives_an_outage_of_the_store_and_a_killed_gateway(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        store_server(tmp_path / "store") as store,
        serving(ScriptedModel()) as model_url,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        begin: Any = (tmp_path, model_url, model_url, {"stored": {"enabled": True}})
        store.stop()
        with gateway_process(*begin, UNDERSTUDY_REDIS_URL=store.url) as gateway:
            answer = client.post(gateway.url + CHAT, json=ASKED)
            assert answer.status_code == 200
            path = f"{CHAT}/{answer.json()['id']}"
            for method, where in (("GET", CHAT), ("GET", path), ("DELETE", path),
                                  ("GET", f"{path}/messages")):  # fmt: skip
                away = client.request(method, gateway.url + where)
                assert (away.status_code, away.json()["error"]["code"]) == (
                    503, "store_unavailable",
                )  # fmt: skip
                assert away.headers["retry-after"]
            gateway.wait_for_line("stored_unavailable")
            assert client.post(gateway.url + CHAT, json=ASKED).status_code == 200
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait(10)
        store.start()
        with gateway_process(*begin, UNDERSTUDY_REDIS_URL=store.url) as gateway:
            wait_until(lambda: client.get(gateway.url + path).status_code == 200, seconds=20)
            assert client.get(gateway.url + path).json()["choices"] == answer.json()["choices"]
