"""A model behind any OpenAI-compatible server: vLLM, llama.cpp, or a vendor's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.ports import FIRST, Clock, Try
from gateway.upstream.discretion import Discretion
from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient
from gateway.upstream.reply import Reply
from gateway.upstream.stream import UpstreamStream, Watch
from gateway.wire.chat import Chat, Dialect, Form, Prefix
from gateway.wire.completion import Completion
from gateway.wire.server import SERVER_FORMS, ServerForm
from routing.breaker import Breaker
from routing.concurrency import AdaptiveLimit
from routing.room import Room
from routing.servers import Rest

MAX_REPLY_BYTES = 64 * 2**20
MAX_ERROR_BYTES = 2**20
# A client that left after so long without a word counts against the server: clients often have
# less patience than our own timeout, and a server that hangs would never be found out.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one server of a model is and how it is asked.

    ``base_url`` ends in ``/v1`` or its like; ``number`` is which of the servers it is, from 0.
    ``is_limit_adaptive``: how many calls it is given is learnt, up to ``max_concurrent``.
    """

    base_url: str
    api_key: str | None
    dialect: Dialect
    max_concurrent: int
    timeout_seconds: float
    number: int = 0
    is_limit_adaptive: bool = False

    @property
    def authorization(self) -> dict[str, str]:
        """The header that carries its key; none where it wants no key."""
        return {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}


class OpenAIModel:
    """One model at one endpoint, with a breaker and a limit on its open calls.

    ``room`` is what its context holds, None until that is known; ``limit`` is learnt, None where it
    stays what was configured.
    """

    def __init__(
        self, endpoint: Endpoint, clock: Clock, on_breaker: Callable[[UpstreamError | None], None]
    ) -> None:
        """``on_breaker`` is told the failure that opens the breaker, and None when it closes."""
        self.open_calls = 0
        self.can_continue = False
        self.room: Room | None = None
        self.limit: AdaptiveLimit | None = None
        if endpoint.is_limit_adaptive:
            self.limit = AdaptiveLimit(endpoint.max_concurrent)
        self.breaker = Breaker()
        self.rest = Rest()
        self.endpoint = endpoint
        self.number = endpoint.number
        self._discretion = Discretion(endpoint.base_url, endpoint.api_key)
        self._clock = clock
        self._on_breaker = on_breaker
        headers = {"content-type": "application/json", **endpoint.authorization}
        # They know no limit of their own: max_concurrent refuses where a pool would queue.
        base_url = endpoint.base_url.rstrip("/")
        self._http = {
            form: HttpClient(base_url + spoken.path, headers)
            for form, spoken in SERVER_FORMS.items()
        }

    @property
    def max_calls(self) -> int:
        """How many calls may be open now."""
        limit = self.limit
        return self.endpoint.max_concurrent if limit is None else limit.calls

    def close(self) -> None:
        """Close the connections."""
        for client in self._http.values():
            client.close()

    def began(self) -> None:
        """A server that was left alone is asked again by all as soon as it answers one."""
        if self.breaker.began():
            self._on_breaker(None)

    def ended(self, waiting_since: float | None, error: BaseException | None) -> None:
        """Let the breaker know how a call ended; any error but ours is that nobody waited.

        ``waiting_since`` is None where the server was not keeping anybody waiting.
        """
        self.open_calls -= 1
        if error is None or isinstance(error, UpstreamRefused):
            if self.rest.failures:
                self.rest.succeeded()
        elif isinstance(error, UpstreamError):
            self.rest.failed(self._clock(), error.come_back_seconds)
            if isinstance(error, UpstreamBusy) or error.come_back_seconds is not None:
                self.overloaded()
            if error.is_down:
                self._is_down(error)
                return
        else:
            self._left(waiting_since)
            return
        if self.breaker.succeeded():
            self._on_breaker(None)

    def overloaded(self) -> None:
        """The server says itself that it has too much to do, or lets too many wait."""
        if self.limit is not None:
            self.limit.overloaded(self._clock())

    async def complete(self, chat: Chat, how: Try = FIRST) -> Completion:
        """Ask the model.  Raises UpstreamError where it fails, UpstreamRefused where it refuses."""
        spoken, http = SERVER_FORMS[chat.form], self._http[chat.form]
        body = spoken.body(chat, self.endpoint.dialect)
        self.open_calls += 1
        started, load = self._clock(), self.open_calls
        try:
            seconds = self.endpoint.timeout_seconds - how.spent_seconds
            status, reply = await http.post(
                body, seconds=seconds, most=MAX_REPLY_BYTES, headers=how.headers
            )
            if status != 200:
                raise self._fault(status, reply, http.retry_after)
            completion = _read(reply, spoken)
        except NETWORK_ERRORS as failure:
            error = fault_of(failure)
            self.ended(started, error)
            raise error from failure
        except BaseException as error:
            self.ended(started, error)
            raise
        self.ended(started, None)
        if self.limit is not None and completion.usage is not None:
            now = self._clock()
            self.limit.answered(load, now - started, completion.usage.output, now)
        return completion

    async def stream(
        self, chat: Chat, prefix: Prefix | None = None, how: Try = FIRST
    ) -> UpstreamStream:
        """Ask the model for an answer as it comes.  Raises as ``complete`` does."""
        spoken = SERVER_FORMS[chat.form]
        body = spoken.stream_body(chat, self.endpoint.dialect, prefix)
        self.open_calls += 1
        started, load = self._clock(), self.open_calls
        try:
            async with asyncio.timeout_at(how.until):
                reply = await self._open(chat.form, body, how)
        except NETWORK_ERRORS as failure:
            error = fault_of(failure)
            self.ended(started, error)
            raise error from failure
        except BaseException as error:
            self.ended(started, error)
            raise
        watch: Watch = self
        if self.limit is not None:
            watch = _Timed(self, self.limit, self._clock, started, load)
        return UpstreamStream(
            reply,
            self._clock,
            watch,
            waiting_since=started,
            read_chunk=spoken.chunks(is_evidence_wanted=self.endpoint.dialect.is_evidence_wanted),
        )

    async def _open(self, form: Form, body: bytes, how: Try) -> Reply:
        seconds = self.endpoint.timeout_seconds - how.spent_seconds
        reply = await self._http[form].stream(body, seconds=seconds, headers=how.headers)
        if reply.status == 200:
            return reply
        try:
            said = await reply.rest(MAX_ERROR_BYTES)
            raise self._fault(reply.status, said, reply.retry_after)
        finally:
            reply.close()

    def _fault(
        self, status: int, body: bytes, retry_after: bytes | None
    ) -> UpstreamError | UpstreamRefused:
        """What an answer means that is no success; of its words those that clients may read."""
        fault = fault_of_status(status, body, retry_after)
        return fault.without(self._discretion.hide) if isinstance(fault, UpstreamRefused) else fault

    def _is_down(self, failure: UpstreamError) -> None:
        if self.breaker.failed(self._clock()):
            self._on_breaker(failure)

    def _left(self, waiting_since: float | None) -> None:
        """Nobody waits for the server any more, which has kept its reader waiting since then."""
        if waiting_since is not None and self._clock() - waiting_since >= PATIENCE_SECONDS:
            self._is_down(UpstreamTimeout("A client left that had waited for long."))
        else:
            self.breaker.abandoned()


@dataclass(frozen=True, slots=True)
class _Timed:
    """Has the limit of a server learn how long a stream's first byte took."""

    model: OpenAIModel
    limit: AdaptiveLimit
    clock: Clock
    started: float
    load: int

    def began(self) -> None:
        self.model.began()
        now = self.clock()
        self.limit.first_byte(self.load, now - self.started, now)

    def ended(self, waiting_since: float | None, error: BaseException | None) -> None:
        self.model.ended(waiting_since, error)


def _read(reply: bytes, spoken: ServerForm) -> Completion:
    try:
        return spoken.reply(reply)
    except (ValueError, RecursionError) as error:
        message = "The model server's answer is no chat completion."
        raise UpstreamMalformed(message, is_usage_unknown=True) from error
