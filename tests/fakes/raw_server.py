"""A server of bytes: a script reads and writes each connection as it likes, HTTP or not."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

AT_ONCE = 2.0  # on a busy machine too; what is not closed at once stays for four at the least


async def turns(count: int = 50) -> None:
    """Let everything happen that is under way: the loop polls its sockets at each turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def answer(body: bytes = b"ok", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer with a content-length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Peer:
    """The server's end of one connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed_at: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> bytes:
        """One whole request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.rpartition(b"content-length: ")[2])
        return head + await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        """Write the pieces, and let each arrive before the next."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await turns(2)

    async def serve(self, *pieces: bytes) -> None:
        """Answer every request that comes with the same pieces."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await self.request()
                await self.send(*pieces)

    async def wait_closed(self) -> None:
        """Wait until the client's end is closed, whatever it still sends."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(2**20):
                pass
        self.closed_at = asyncio.get_running_loop().time()
        self.closed.set()

    def reset(self) -> None:
        """Close without a FIN."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def server_tls(certificate: Path) -> ssl.SSLContext:
    """Speak TLS with a certificate whose key lies beside it, and HTTP/2 to whoever can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    """``url`` says where; ``peers`` are the connections that came, in order."""

    port: int
    url: str
    peers: list[Peer] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def sees_the_end(self, number: int = 0) -> None:
        """Fail unless a connection, whose script waits for that, is closed at once."""
        async with asyncio.timeout(AT_ONCE):
            await self.peers[number].closed.wait()

    async def wait_for_peers(self, count: int) -> None:
        """Wait until so many connections have come."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.peers) >= count)


@contextlib.asynccontextmanager
async def raw_server(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serve; a connection is closed once the script is through with it."""
    tasks: list[asyncio.Task[None]] = []

    async def run(peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(peer)
        finally:
            peer.writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(served.peers), reader, writer)
        async with served.came:
            served.peers.append(peer)
            served.came.notify_all()
        tasks.append(asyncio.create_task(run(peer)))

    server = await asyncio.start_server(accept, host, 0, ssl=tls, limit=2**20)
    port = server.sockets[0].getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    served = RawServer(port, f"{'https' if tls else 'http'}://{name}:{port}/v1")
    try:
        yield served
    finally:
        server.close()
        for peer in served.peers:
            peer.writer.transport.abort()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await turns()
    faults = [each for each in ended if isinstance(each, Exception)]
    assert not faults, faults
