"""A model behind no wire at all, on a clock of the test's own: what calls to it cost is known."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.ports import FIRST, ChatServer, ChatStream, Try
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion, read_completion
from gateway.wire.received import Received
from routing.money import Usage
from routing.room import Room
from routing.vocabulary import Grant, Granted
from tests.fakes.upstream import completion


def asked(**changes: Any) -> Chat:
    fields = {"model": "a", "messages": [{"role": "user", "content": "What?"}]}
    return parse_chat(msgspec.json.encode(fields | changes))


class OpenStream:
    """A stream as far as legs look at it."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.is_over = False
        self.received = Received()
        self.opening = b""
        self.finish_reason: str | None = None

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        raise NotImplementedError

    def close(self, cause: BaseException | None = None) -> None:
        pass


class ClockedModel:
    """A model that takes ``seconds`` of the test's own clock for a whole answer.

    It is its own only server, and nobody asks it twice.
    """

    can_continue = False
    room: Room | None = None
    number = 0
    has_spare_room = True
    is_left_alone = False

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 5.0
        self.does: Callable[[], Completion] = lambda: read_completion(
            msgspec.json.encode(completion())
        )
        self.streams: list[OpenStream] = []

    def clock(self) -> float:
        return self.now

    def reserve(self) -> Grant:
        return Granted()

    def server(self) -> ChatServer:
        return self

    def another(self, *_: object) -> ChatServer | None:
        return None

    async def complete(self, chat: Chat, how: Try = FIRST) -> Completion:
        self.now += self.seconds
        return self.does()

    async def stream(self, *_: object) -> ChatStream:
        self.streams.append(OpenStream())
        return self.streams[-1]
