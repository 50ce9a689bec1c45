"""``python -m bench.clients``: what a call costs with each HTTP client, and if it can be ended.

For docs/decisions/0003.  Clients that the project does not need are measured where they are
installed: ``pip install aiohttp httpx-aiohttp pyreqwest``.
"""

import asyncio
import contextlib
import importlib
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from bench.processes import upstream
from bench.upstream import SURE, base_path
from gateway.upstream.http1 import HttpClient

CALLS = 3000
WARM_UP_CALLS = 20
CONCURRENCIES = (1, 32)
CANCEL_WAIT_SECONDS = 2.0
REPLY_SECONDS = 60.0
MOST_BYTES = 2**20
BODY = b'{"model":"x"}'
HEADERS = {"content-type": "application/json"}

Post = Callable[[str], Awaitable[int]]  # posts BODY to a URL; gives the length of the reply


@dataclass(frozen=True, slots=True)
class Client:
    """A client's name, how it posts and how it is closed."""

    name: str
    post: Post
    close: Callable[[], Awaitable[Any]]


def _clients() -> Iterator[Client]:
    yield _own()
    with contextlib.suppress(ImportError):
        yield _aiohttp(importlib.import_module("aiohttp"))
    whole = httpx.AsyncClient(trust_env=False)

    async def post_whole(url: str) -> int:
        return len((await whole.post(url, content=BODY, headers=HEADERS)).content)

    yield Client("httpx", post_whole, whole.aclose)
    yield _through("httpx' transport alone", httpx.AsyncHTTPTransport(trust_env=False))
    with contextlib.suppress(ImportError):
        module = importlib.import_module("httpx_aiohttp")
        yield _through("httpx-aiohttp's transport", module.AiohttpTransport())
    with contextlib.suppress(ImportError):
        module = importlib.import_module("pyreqwest.compatibility.httpx")
        yield _through("pyreqwest's transport for httpx", module.HttpxTransport())


def _own() -> Client:
    clients: dict[str, HttpClient] = {}

    async def post(url: str) -> int:
        if url not in clients:
            clients[url] = HttpClient(url, HEADERS)
        _, body = await clients[url].post(BODY, seconds=REPLY_SECONDS, most=MOST_BYTES)
        return len(body)

    async def close() -> None:
        for client in clients.values():
            client.close()

    return Client("http1, our own", post, close)


def _aiohttp(aiohttp: Any) -> Client:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def post(url: str) -> int:
        async with session.post(url, data=BODY, headers=HEADERS) as response:
            return len(await response.read())

    return Client("aiohttp", post, session.close)


def _through(name: str, transport: httpx.AsyncBaseTransport) -> Client:
    async def post(url: str) -> int:
        request = httpx.Request("POST", url, headers=HEADERS, content=BODY)
        response = await transport.handle_async_request(request)
        size = len(await response.aread())
        await response.aclose()
        return size

    return Client(name, post, transport.aclose)


async def cpu_us(post: Post, url: str, concurrency: int) -> float:
    """CPU microseconds of this process for each call."""

    async def worker(calls: int) -> None:
        for _ in range(calls):
            await post(url)

    await asyncio.gather(*(worker(WARM_UP_CALLS) for _ in range(concurrency)))
    before = time.process_time()
    await asyncio.gather(*(worker(CALLS // concurrency) for _ in range(concurrency)))
    return (time.process_time() - before) / CALLS * 1e6


async def seconds_until_closed(post: Post) -> float | None:
    """How long a cancelled call keeps its connection; None where it outlasts the wait."""
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        arrived.set()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.read()  # to the end, which comes when the client closes
        closed.set()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    call = asyncio.ensure_future(post(f"http://127.0.0.1:{port}/"))
    await arrived.wait()
    call.cancel()
    started = time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    try:
        await asyncio.wait_for(closed.wait(), CANCEL_WAIT_SECONDS)
    except TimeoutError:
        return None
    finally:
        server.close()
    return time.perf_counter() - started


async def _measure(url: str) -> Table:
    table = Table("client", *(f"CPU us at c={c}" for c in CONCURRENCIES), "a cancelled call closes")
    for client in _clients():
        cpu = [await cpu_us(client.post, url, concurrency) for concurrency in CONCURRENCIES]
        seconds = await seconds_until_closed(client.post)
        ended = "not within 2 s" if seconds is None else f"after {seconds * 1e3:.1f} ms"
        table.add_row(client.name, *(f"{cost:.0f}" for cost in cpu), ended)
        await client.close()
    return table


def main() -> int:
    """Measure and print."""
    with upstream(None) as port:
        url = f"http://127.0.0.1:{port}{base_path(SURE)}/chat/completions"
        Console().print(uvloop.run(_measure(url)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
