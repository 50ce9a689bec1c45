"""Chaos and soak, with --full: the same promises as in test_process.py, many times over."""

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import gateway_process

KEY = "understudy:{assistant}:pairs"
ROUNDS = 8
SOAK_REQUESTS = 20_000
QUESTION: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


def stored_request_ids(store: StoreServer) -> set[str]:
    with store.client() as client:
        entries: Any = client.xrange(KEY)
    return {json.loads(fields[b"pair"])["request_id"] for _, fields in entries}


def ask_until_it_dies(url: str, worker: int) -> list[str]:
    """Ids of the escalations that were answered in full before the gateway was killed."""
    delivered: list[str] = []
    with httpx.Client(trust_env=False, timeout=10) as client:
        for number in range(10_000):
            request_id = f"{worker}-{number}-{random.getrandbits(64):x}"
            headers = {"x-request-id": request_id}
            try:
                response = client.post(url + "/v1/chat/completions", json=QUESTION, headers=headers)
            except httpx.TransportError:
                return delivered
            assert response.status_code == 200
            delivered.append(request_id)
    return delivered


def test_no_delivered_escalation_is_lost_however_often_gateway_and_store_are_killed(
    tmp_path: Path,
) -> None:
    student = ScriptedModel(Reply(body=completion("Rome?", UNSURE)))
    teacher = ScriptedModel(Reply(body=completion("Paris.")))
    (tmp_path / "store").mkdir()
    delivered: set[str] = set()
    with (
        serving(student) as student_url,
        serving(teacher) as teacher_url,
        store_server(tmp_path / "store") as store,
        ThreadPoolExecutor(8) as pool,
    ):
        environment = {"UNDERSTUDY_REDIS_URL": store.url}
        for chaos in range(ROUNDS):
            with gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway:
                if chaos % 3 == 1:
                    store.stop(is_killed=True)
                load = [pool.submit(ask_until_it_dies, gateway.url, each) for each in range(8)]
                time.sleep(random.uniform(0.3, 1.5))
                if chaos % 3 == 2:  # under load: pipelines break off, and another server answers
                    store.stop(is_killed=True)
                    store.start()
                gateway.process.send_signal(signal.SIGKILL)
                for worker in load:
                    delivered.update(worker.result(timeout=30))
            if chaos % 3 == 1:
                store.start()
        assert len(delivered) > 100
        with gateway_process(tmp_path, student_url, teacher_url, **environment):
            wait_until(lambda: delivered <= stored_request_ids(store), seconds=60)


def test_memory_and_descriptors_do_not_grow(tmp_path: Path) -> None:
    with (
        serving(ScriptedModel()) as student_url,
        serving(ScriptedModel()) as teacher_url,
        gateway_process(tmp_path, student_url, teacher_url) as gateway,
        ThreadPoolExecutor(8) as pool,
    ):
        watched = psutil.Process(gateway.process.pid)

        def work(requests: int) -> None:
            with httpx.Client(trust_env=False, timeout=20) as client:
                for _ in range(requests):
                    response = client.post(gateway.url + "/v1/chat/completions", json=QUESTION)
                    assert response.headers["x-understudy-served-by"] == "student"

        sizes = []
        for _ in range(5):
            list(pool.map(work, [SOAK_REQUESTS // 40] * 8))
            sizes.append(watched.memory_info().rss / 2**20)
        assert sizes[-1] - sizes[1] < 5, f"MiB after each fifth: {sizes}"
        wait_until(lambda: watched.num_fds() < 60, seconds=30)
        assert gateway.metric("understudy_requests_total") == SOAK_REQUESTS
