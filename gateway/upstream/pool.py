"""The servers of one model: who is asked, and who is asked in place of one that failed.

Each has its own breaker, its own connections and its own open calls.  What is decided of them is
``routing/servers.py``.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import UpstreamError
from gateway.ports import ChatServer, Clock
from gateway.upstream.openai import OpenAIModel
from routing.room import Room, of_all
from routing.servers import MOST_TRIES, Load, RetryBudget, by_preference
from routing.vocabulary import Degraded, Denied, Grant, Granted

# What can wait is asked for only while less than this share of the calls is open.
SPARE_SHARE = 0.8
_GRANTED = Granted()


@dataclass(slots=True)
class Tally:
    """How many calls were granted, and how many were denied because there was no room."""

    granted: int = 0
    denied: int = 0

    def take(self) -> float | None:
        """The share of those that were denied since the last time; None where nobody asked."""
        asked, denied = self.granted + self.denied, self.denied
        self.granted = self.denied = 0
        return denied / asked if asked else None


class ServerPool:
    """One model behind one or more servers, at least one.

    ``tally`` counts what is granted; None where nobody wants to know.
    """

    def __init__(self, servers: Sequence[OpenAIModel], clock: Clock) -> None:
        self.servers = servers
        self.tally: Tally | None = None
        self._clock = clock
        self._budget = RetryBudget()
        self._granted: deque[OpenAIModel] = deque()
        self._turn = 0

    @property
    def can_continue(self) -> bool:
        """Whether each server was seen to go on from the first words of an answer."""
        return all(server.can_continue for server in self.servers)

    @property
    def room(self) -> Room | None:
        """What the context of the most roomy server holds; None where that is not known of all."""
        if len(self.servers) == 1:
            return self.servers[0].room
        return of_all([server.room for server in self.servers])

    @property
    def open_calls(self) -> int:
        """How many calls are open, at all servers."""
        return sum(server.open_calls for server in self.servers)

    @property
    def max_calls(self) -> int:
        """How many calls may be open now, at all servers."""
        return sum(server.max_calls for server in self.servers)

    @property
    def has_spare_room(self) -> bool:
        """Whether so many calls may still be open that nobody is in the way of a request."""
        return self.open_calls < SPARE_SHARE * self.max_calls

    @property
    def left_alone(self) -> int:
        """How many servers are left alone after a run of failures."""
        return sum(server.breaker.opened_at is not None for server in self.servers)

    @property
    def is_left_alone(self) -> bool:
        """Whether all of them are."""
        return self.left_alone == len(self.servers)

    def alone(self, server: OpenAIModel) -> "ServerPool":
        """The same model as only that server of it has it."""
        return ServerPool([server], self._clock)

    def close(self) -> None:
        """Close the connections."""
        for server in self.servers:
            server.close()

    def reserve(self) -> Grant:
        """Say whether the model may be asked now; a Granted must be followed by a call."""
        server = self._choice(self.servers)
        if server is not None:
            self._granted.append(server)
            if self.tally is not None:
                self.tally.granted += 1
            return _GRANTED
        is_full = any(server.open_calls >= server.max_calls for server in self.servers)
        if is_full and self.tally is not None:
            self.tally.denied += 1
        return Denied(Degraded.TEACHER_BUSY if is_full else Degraded.TEACHER_FAILED)

    def server(self) -> OpenAIModel:
        """Who is asked by the call that is made now: whom ``reserve`` chose.

        A call for which nothing was reserved is made all the same.
        """
        self._budget.called()
        if self._granted:
            return self._granted.popleft()
        return self._choice(self.servers) or self._in_order(self.servers, self._clock())[0]

    def another(
        self, tried: Sequence[ChatServer], failure: UpstreamError, spent_seconds: float
    ) -> OpenAIModel | None:
        """Who is asked in place of the last that was tried, after so many seconds; None: nobody.

        Each server is tried once; one that is alone twice, where it may be away for a moment only.
        """
        if len(tried) >= MOST_TRIES or self._budget.is_spent:
            return None
        if spent_seconds >= self.servers[0].endpoint.timeout_seconds:
            return None
        if len(self.servers) == 1:
            is_worth_it = failure.is_for_the_moment and len(tried) == 1
            left: Sequence[OpenAIModel] = self.servers if is_worth_it else ()
        else:
            is_worth_it = failure.is_of_one_server
            left = [one for one in self.servers if one not in tried] if is_worth_it else ()
        server = self._choice(left)
        if server is not None:
            self._budget.retried()
        return server

    def _choice(self, servers: Sequence[OpenAIModel]) -> OpenAIModel | None:
        """The first that may be asked, in the order of preference."""
        now = self._clock()
        for server in servers if len(servers) < 2 else self._in_order(servers, now):
            if server.open_calls < server.max_calls and server.breaker.allows(now):
                return server
        return None

    def _in_order(self, servers: Sequence[OpenAIModel], now: float) -> Sequence[OpenAIModel]:
        loads = [Load(one.open_calls, one.rest.until > now) for one in servers]
        self._turn += 1
        return [servers[place] for place in by_preference(loads, self._turn % len(servers))]
