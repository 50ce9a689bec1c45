"""A model behind any OpenAI-compatible server: vLLM, llama.cpp, or a vendor's own.

The engine is aiohttp: a call that is cancelled closes its connection at once, so that the server
stops working for nobody, and it costs a third of httpx's CPU: docs/decisions/0003.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import msgspec
import yarl

from gateway.errors import UpstreamError, UpstreamMalformed, UpstreamRefused
from gateway.ports import Clock
from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.wire.chat import Chat, upstream_body
from gateway.wire.completion import Completion, read_completion
from routing.breaker import Breaker
from routing.vocabulary import Degraded, Denied, Grant, Granted

MAX_REPLY_BYTES = 64 * 2**20
CONNECT_SECONDS = 2.0
# uvicorn, and so vLLM, closes a connection after 5 idle seconds: be the first.
IDLE_SECONDS = 4.0
DNS_SECONDS = 10
# A client that left after so long without an answer counts against the server: clients often have
# less patience than our own timeout, and a server that hangs would never be found out.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is and how it is asked.  ``base_url`` ends in ``/v1`` or its like."""

    base_url: str
    model: str
    api_key: str | None
    is_evidence_wanted: bool
    max_concurrent: int
    timeout_seconds: float
    extra_body: Mapping[str, msgspec.Raw] = field(default_factory=dict)


class OpenAIModel:
    """One model at one endpoint, with a breaker and a limit on its open calls."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, on_breaker: Callable[[bool], None]
    ) -> None:
        """``on_breaker`` is told whether the breaker is open whenever that changes."""
        self.open_calls = 0
        self.breaker = Breaker()
        self._endpoint = endpoint
        self._clock = clock
        self._on_breaker = on_breaker
        self._url = yarl.URL(endpoint.base_url.rstrip("/") + "/chat/completions")
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make ready to ask.  Connections are made when they are needed."""
        headers = {"content-type": "application/json"}
        if self._endpoint.api_key is not None:
            headers["authorization"] = f"Bearer {self._endpoint.api_key}"
        # No limit of its own: max_concurrent refuses where a pool would queue.
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=DNS_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=self._endpoint.timeout_seconds, sock_connect=CONNECT_SECONDS
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def reserve(self) -> Grant:
        """Say whether the model may be asked now."""
        if self.open_calls >= self._endpoint.max_concurrent:
            return Denied(Degraded.TEACHER_BUSY)
        if not self.breaker.allows(self._clock()):
            return Denied(Degraded.TEACHER_FAILED)
        return Granted()

    async def complete(self, chat: Chat) -> Completion:
        """Ask the model.  Raises UpstreamError where it fails, UpstreamRefused where it refuses."""
        self.open_calls += 1
        started = self._clock()
        try:
            completion = await self._complete(chat)
        except UpstreamError as error:
            self._report(is_down=error.is_down)
            raise
        except UpstreamRefused:
            self._report(is_down=False)
            raise
        except BaseException:  # the client left, perhaps because it had waited long for nothing
            if self._clock() - started >= PATIENCE_SECONDS:
                self._report(is_down=True)
            else:
                self.breaker.abandoned()
            raise
        else:
            self._report(is_down=False)
            return completion
        finally:
            self.open_calls -= 1

    def _report(self, *, is_down: bool) -> None:
        was_open = self.breaker.opened_at is not None
        if is_down:
            self.breaker.failed(self._clock())
        else:
            self.breaker.succeeded()
        is_open = self.breaker.opened_at is not None
        if is_open is not was_open:
            self._on_breaker(is_open)

    async def _complete(self, chat: Chat) -> Completion:
        body = upstream_body(
            chat,
            model=self._endpoint.model,
            is_evidence_wanted=self._endpoint.is_evidence_wanted,
            extra=self._endpoint.extra_body,
        )
        status, reply = await self._post(body)
        if status != 200:
            raise fault_of_status(status, reply)
        try:
            return read_completion(reply)
        except (ValueError, RecursionError) as error:
            message = "The model server's answer is no chat completion."
            raise UpstreamMalformed(message, is_usage_unknown=True) from error

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("open() comes before complete()")
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                reply = bytearray()
                async for chunk in response.content.iter_any():
                    reply += chunk
                    if len(reply) > MAX_REPLY_BYTES:
                        message = "The model server's answer is too large."
                        raise UpstreamMalformed(message, is_usage_unknown=True)
                return response.status, bytes(reply)
        except NETWORK_ERRORS as error:
            raise fault_of(error) from error
