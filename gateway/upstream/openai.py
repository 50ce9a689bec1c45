"""A model behind any OpenAI-compatible server: vLLM, llama.cpp, or a vendor's own.

Requests go straight to an httpx transport: of httpx it is the part that does the work, and what
its client adds (cookies, redirects, authentication flows) has no use between two servers and a
price per request: docs/decisions/0003.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import msgspec
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from gateway.errors import UpstreamError, UpstreamMalformed, UpstreamRefused
from gateway.ports import Clock
from gateway.upstream.faults import fault_of, fault_of_status
from gateway.wire.chat import Chat, upstream_body
from gateway.wire.completion import Completion, read_completion
from routing.breaker import Breaker
from routing.vocabulary import Degraded, Denied, Grant, Granted

MAX_REPLY_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is and how it is asked.  ``base_url`` ends in ``/v1`` or its like."""

    base_url: str
    model: str
    api_key: str | None
    is_evidence_wanted: bool
    max_concurrent: int
    extra_body: Mapping[str, msgspec.Raw] = field(default_factory=dict)


def new_transport(*, timeout_seconds: float, connect_seconds: float) -> httpx.AsyncBaseTransport:
    """The engine for one upstream.  A dropped call closes its connection, so the server stops."""
    client = (
        ClientBuilder()
        .timeout(timedelta(seconds=timeout_seconds))
        .connect_timeout(timedelta(seconds=connect_seconds))
        .follow_redirects(enable=False)
        .build()
    )
    return HttpxTransport(client)


class OpenAIModel:
    """One model at one endpoint, with a breaker and a limit on its open calls."""

    def __init__(
        self, endpoint: Endpoint, transport: httpx.AsyncBaseTransport, clock: Clock
    ) -> None:
        self.open_calls = 0
        self.breaker = Breaker()
        self._endpoint = endpoint
        self._transport = transport
        self._clock = clock
        self._url = httpx.URL(endpoint.base_url.rstrip("/") + "/chat/completions")
        self._headers = {"content-type": "application/json", "host": self._url.netloc.decode()}
        if endpoint.api_key is not None:
            self._headers["authorization"] = f"Bearer {endpoint.api_key}"

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
        try:
            completion = await self._complete(chat)
        except UpstreamError:
            self.breaker.failed(self._clock())
            raise
        except UpstreamRefused:
            self.breaker.succeeded()
            raise
        except BaseException:  # the client left; nothing was learnt about the server
            self.breaker.abandoned()
            raise
        else:
            self.breaker.succeeded()
            return completion
        finally:
            self.open_calls -= 1

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
        request = httpx.Request("POST", self._url, headers=self._headers, content=body)
        try:
            response = await self._transport.handle_async_request(request)
            try:
                reply = bytearray()
                async for chunk in response.aiter_raw():
                    reply += chunk
                    if len(reply) > MAX_REPLY_BYTES:
                        message = "The model server's answer is too large."
                        raise UpstreamMalformed(message, is_usage_unknown=True)
                return response.status_code, bytes(reply)
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            raise fault_of(error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
