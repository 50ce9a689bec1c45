"""When a connection is closed at the end: over a pair of sockets, without a process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from understudy.web_server import Connection, Server, web_server

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answers with nothing."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Server, Connection, asyncio.StreamWriter, Any]]:
    server = web_server(nothing)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, connection = await loop.connect_accepted_socket(
        lambda: Connection(config=server.config, server_state=server.server_state, app_state={}),
        ours,
    )
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield server, connection, writer, reader
    finally:
        writer.close()
        connection.transport.close()


async def ask(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bytes:
    writer.write(REQUEST)
    return await reader.readuntil(b"\r\n\r\n")


async def test_one_that_was_answered_a_moment_ago_is_left_for_one_answer_more() -> None:
    async with connected() as (server, connection, writer, reader):
        connection.end(linger_seconds=5)  # as where its reply had begun by then
        assert b"close" not in await ask(writer, reader)
        connection.shutdown()
        assert not connection.transport.is_closing()
        server.end_connections(5)
        assert b"connection: close" in await ask(writer, reader)
        assert await reader.read() == b""


async def test_one_that_was_idle_all_the_time_is_closed() -> None:
    async with connected() as (_, connection, writer, reader):
        await ask(writer, reader)
        connection.end(linger_seconds=5)
        connection.shutdown()
        assert await reader.read() == b""


async def test_without_a_delay_none_is_left() -> None:
    async with connected() as (_, connection, writer, reader):
        connection.end(linger_seconds=0)
        await ask(writer, reader)
        connection.shutdown()
        assert await reader.read() == b""
