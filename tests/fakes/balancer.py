"""What the proxy of a Kubernetes node does for a Service, as a TCP proxy on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

Address = tuple[str, int]

READ_BYTES = 64 * 2**10


class Balancer:
    """Gives each new connection to the next pod of those that it has been told of.

    An established connection stays with its pod, whatever it is told afterwards.  A connection for
    which no pod is there, or whose pod refuses it, is reset: clients see what they would see.
    """

    def __init__(self) -> None:
        self.pods: dict[str, Address] = {}
        self.refused = 0
        self._turn = 0
        self._open: set[asyncio.Task[None]] = set()

    def add(self, pod: str, address: Address) -> None:
        self.pods[pod] = address

    def remove(self, pod: str) -> None:
        self.pods.pop(pod, None)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen on a free port; gives the address as a URL."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=READ_BYTES)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served in a task")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        self._turn += 1
        pods = list(self.pods.values())
        try:
            if not pods:
                raise ConnectionRefusedError
            pod = pods[self._turn % len(pods)]
            from_pod, to_pod = await asyncio.open_connection(*pod, limit=READ_BYTES)
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        upwards = asyncio.create_task(_pump(reader, to_pod))
        try:
            await _pump(from_pod, writer)
        finally:
            upwards.cancel()
            to_pod.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand everything on, the end too: in good order, or as a reset."""
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    else:
        writer.close()
