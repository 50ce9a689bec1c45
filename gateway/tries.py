"""The servers that one call is put to, one after another, until one answers."""

from msgspec import Struct

from gateway.errors import UpstreamError
from gateway.ports import ChatModel, ChatServer, Clock


class Tries(Struct):
    """One call to a model, since ``started``.  ``server`` is who is asked now.

    ``spent_seconds`` is how long those were asked in vain that were ``tried`` before.
    """

    chat: ChatModel
    clock: Clock
    server: ChatServer
    started: float
    tried: list[ChatServer] = []
    spent_seconds: float = 0.0

    def go_on(self, failure: UpstreamError) -> bool:
        """Whether the call is made again after that; ``server`` is who is asked then."""
        self.tried.append(self.server)
        self.spent_seconds = self.clock() - self.started
        server = self.chat.another(self.tried, failure, self.spent_seconds)
        if server is not None:
            self.server = server
        return server is not None
