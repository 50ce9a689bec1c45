"""A model behind any OpenAI-compatible server: vLLM, llama.cpp, or a vendor's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTimeout
from gateway.ports import Clock
from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient, Reply
from gateway.upstream.stream import UpstreamStream
from gateway.wire.chat import Chat, Dialect, Prefix, upstream_body, upstream_stream_body
from gateway.wire.completion import Completion, read_completion
from routing.breaker import Breaker
from routing.vocabulary import Degraded, Denied, Grant, Granted

MAX_REPLY_BYTES = 64 * 2**20
MAX_ERROR_BYTES = 2**20
# A client that left after so long without a word counts against the server: clients often have
# less patience than our own timeout, and a server that hangs would never be found out.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is and how it is asked.  ``base_url`` ends in ``/v1`` or its like."""

    base_url: str
    api_key: str | None
    dialect: Dialect
    max_concurrent: int
    timeout_seconds: float


class OpenAIModel:
    """One model at one endpoint, with a breaker and a limit on its open calls."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, on_breaker: Callable[[UpstreamError | None], None]
    ) -> None:
        """``on_breaker`` is told the failure that opens the breaker, and None when it closes."""
        self.open_calls = 0
        self.can_continue = False
        self.breaker = Breaker()
        self._endpoint = endpoint
        self._clock = clock
        self._on_breaker = on_breaker
        headers = {"content-type": "application/json"}
        if endpoint.api_key is not None:
            headers["authorization"] = f"Bearer {endpoint.api_key}"
        # It knows no limit of its own: max_concurrent refuses where a pool would queue.
        self._http = HttpClient(endpoint.base_url.rstrip("/") + "/chat/completions", headers)

    @property
    def max_calls(self) -> int:
        """How many calls may be open."""
        return self._endpoint.max_concurrent

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def reserve(self) -> Grant:
        """Say whether the model may be asked now."""
        if self.open_calls >= self._endpoint.max_concurrent:
            return Denied(Degraded.TEACHER_BUSY)
        if not self.breaker.allows(self._clock()):
            return Denied(Degraded.TEACHER_FAILED)
        return Granted()

    def began(self) -> None:
        """A server that was left alone is asked again by all as soon as it answers one."""
        was_open = self.breaker.opened_at is not None
        self.breaker.began()
        self._tell_of_change(None, was_open=was_open)

    def ended(self, waiting_since: float | None, error: BaseException | None) -> None:
        """Let the breaker know how a call ended; any error but ours is that nobody waited.

        ``waiting_since`` is None where the server was not keeping anybody waiting.
        """
        self.open_calls -= 1
        if error is None or isinstance(error, UpstreamRefused):
            self._report(None)
        elif isinstance(error, UpstreamError):
            self._report(error if error.is_down else None)
        elif waiting_since is not None and self._clock() - waiting_since >= PATIENCE_SECONDS:
            self._report(UpstreamTimeout("A client left that had waited for long."))
        else:
            self.breaker.abandoned()

    async def complete(self, chat: Chat, headers: bytes = b"") -> Completion:
        """Ask the model.  Raises UpstreamError where it fails, UpstreamRefused where it refuses.

        ``headers`` are lines that this request has beside those of all, each with its end.
        """
        body = upstream_body(chat, self._endpoint.dialect)
        started = self._begin()
        try:
            seconds = self._endpoint.timeout_seconds
            status, reply = await self._http.post(
                body, seconds=seconds, most=MAX_REPLY_BYTES, headers=headers
            )
            if status != 200:
                raise fault_of_status(status, reply)
            completion = _read(reply)
        except NETWORK_ERRORS as failure:
            error = fault_of(failure)
            self.ended(started, error)
            raise error from failure
        except BaseException as error:
            self.ended(started, error)
            raise
        self.ended(started, None)
        return completion

    async def stream(
        self,
        chat: Chat,
        prefix: Prefix | None = None,
        until: float | None = None,
        headers: bytes = b"",
    ) -> UpstreamStream:
        """Ask the model for an answer as it comes.  Raises as ``complete`` does."""
        body = upstream_stream_body(chat, self._endpoint.dialect, prefix)
        started = self._begin()
        try:
            async with asyncio.timeout_at(until):
                reply = await self._open(body, headers)
        except NETWORK_ERRORS as failure:
            error = fault_of(failure)
            self.ended(started, error)
            raise error from failure
        except BaseException as error:
            self.ended(started, error)
            raise
        return UpstreamStream(
            reply,
            self._clock,
            self,
            waiting_since=started,
            is_evidence_wanted=self._endpoint.dialect.is_evidence_wanted,
        )

    async def _open(self, body: bytes, headers: bytes) -> Reply:
        seconds = self._endpoint.timeout_seconds
        reply = await self._http.stream(body, seconds=seconds, headers=headers)
        if reply.status == 200:
            return reply
        try:
            raise fault_of_status(reply.status, await reply.rest(MAX_ERROR_BYTES))
        finally:
            reply.close()

    def _begin(self) -> float:
        self.open_calls += 1
        return self._clock()

    def _report(self, failure: UpstreamError | None) -> None:
        was_open = self.breaker.opened_at is not None
        if failure is not None:
            self.breaker.failed(self._clock())
        else:
            self.breaker.succeeded()
        self._tell_of_change(failure, was_open=was_open)

    def _tell_of_change(self, failure: UpstreamError | None, *, was_open: bool) -> None:
        if (self.breaker.opened_at is not None) is not was_open:
            self._on_breaker(failure)


def _read(reply: bytes) -> Completion:
    try:
        return read_completion(reply)
    except (ValueError, RecursionError) as error:
        message = "The model server's answer is no chat completion."
        raise UpstreamMalformed(message, is_usage_unknown=True) from error
