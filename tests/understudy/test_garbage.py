"""A request that is over leaves nothing to the garbage collector, whose looks hold up others."""

import asyncio
import gc
import socket
from collections import Counter
from pathlib import Path

import httpx

from gateway.api.account import Account
from gateway.api.exchange import Departure
from gateway.app import create_app
from gateway.facts import RequestSettled
from tests.fakes.serving import PLAIN_HTTP, stage
from tests.fakes.trial import SURE, UNSURE, words
from tests.fakes.upstream import saying
from understudy.replying import Cycle
from understudy.web_server import web_server

OF_A_REQUEST = (Account, Cycle, Departure, RequestSettled)
REQUESTS = 5


def left() -> Counter[str]:
    """What is still there of requests, by its kind."""
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, OF_A_REQUEST))


async def test_requests_that_are_over_leave_nothing_to_collect(tmp_path: Path) -> None:
    with stage(tmp_path) as scene, socket.create_server(("127.0.0.1", 0)) as listening:
        scene.teacher.reply = saying(words(3, "t"))
        server = web_server(create_app(scene.gateway))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=PLAIN_HTTP) as client:

            async def ask(status: int, **changes: object) -> None:
                body = scene.question | changes
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.status_code == status

            gc.collect()
            before = left()  # of other tests
            gc.disable()
            try:
                for evidence in (SURE, UNSURE):
                    scene.student.reply = saying(words(3, "s"), evidence)
                    for _ in range(REQUESTS):
                        await ask(200)
                        await ask(200, stream=True)
                for _ in range(REQUESTS):
                    await ask(400, messages=[])
                scene.gateway.context.observer.telling.tell()
                found = left() - before
            finally:
                gc.enable()
        server.should_exit = True
        await serving
    # A connection keeps its last request, which is the client's only one.
    assert found.pop("Cycle") == 1
    assert not found
