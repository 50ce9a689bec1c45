"""An answer that is still coming, as its reader sees it: read it, and close it in the end."""

from collections.abc import Callable, Coroutine
from typing import Protocol


class BrokenOff(Exception):  # a state
    """The connection ended, or ceased to be HTTP, before the answer was whole."""


class Exchange(Protocol):
    """What the answer comes on."""

    status: int
    retry_after: bytes | None

    def some(self, until: float | None) -> Coroutine[None, None, bytes | None]:
        """Wait for more of a stream: empty at its end, None where nothing came until then."""


class Reply:
    """A streamed answer.  ``close`` it, or the server goes on."""

    def __init__(self, exchange: Exchange, give_back: Callable[[], None]) -> None:
        """``give_back`` is called once, when nothing more is wanted of the connection."""
        self.status = exchange.status
        self.retry_after = exchange.retry_after
        self._give_back = give_back
        self._exchange: Exchange | None = exchange

    def read(self, until: float | None = None) -> Coroutine[None, None, bytes | None]:
        """What has come since the last time; empty at the end of the answer.

        None where nothing came until that time of the loop's clock; the answer goes on.  Raises
        BrokenOff and TimeoutError.
        """
        if self._exchange is None:
            raise BrokenOff("closed")
        return self._exchange.some(until)  # its own coroutine, for there is a read a token

    async def rest(self, most: int) -> bytes:
        """All that is still to come, cut off once it has more bytes than that."""
        parts = bytearray()
        while part := await self.read():
            parts += part
            if len(parts) > most:
                break
        return bytes(parts[:most])

    def close(self) -> None:
        """End the exchange; where the answer is not whole, the server's work ends too."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:  # another may have the connection by now
            self._give_back()
