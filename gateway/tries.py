"""The servers that one call is put to, one after another, until one answers."""

from gateway.errors import UpstreamError
from gateway.ports import ChatModel, ChatServer, Clock, Try


class Tries:
    """One call to a model.  ``server`` is who is asked now."""

    __slots__ = ("_chat", "_clock", "_started", "_tried", "server")

    def __init__(self, chat: ChatModel, clock: Clock) -> None:
        self.server = chat.server()
        self._chat = chat
        self._clock = clock
        self._started = clock()
        self._tried: list[ChatServer] = []

    def this_one(self, headers: bytes, until: float | None = None) -> Try:
        """The try that is made now, with these headers, and within what time is left."""
        spent = self._clock() - self._started if self._tried else 0.0
        return Try(headers, until, spent)

    def go_on(self, failure: UpstreamError) -> bool:
        """Whether the call is made again after that; ``server`` is who is asked then."""
        self._tried.append(self.server)
        spent = self._clock() - self._started
        server = self._chat.another(self._tried, failure, spent)
        if server is not None:
            self.server = server
        return server is not None
