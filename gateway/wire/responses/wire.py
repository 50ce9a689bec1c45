"""OpenAI's responses: the protocol of ``POST /v1/responses``."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from gateway.errors import GatewayError
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion
from gateway.wire.errors import error_body
from gateway.wire.responses.events import ResponseEditor
from gateway.wire.responses.naming import client_param
from gateway.wire.responses.output import Output
from gateway.wire.responses.reply import Envelope, Outcome, is_whole, usage_in
from gateway.wire.responses.request import parse_request
from gateway.wire.responses.said import said_whole


class AskedResponse:
    """One response that a client asks for."""

    can_restart = False

    def __init__(self, envelope: Envelope, now: Callable[[], float]) -> None:
        self._envelope = envelope
        self._now = now
        self._editor: ResponseEditor | None = None

    @property
    def chat(self) -> Chat:
        """The same as a chat completion."""
        return self._envelope.request.chat

    def whole(self, completion: Completion) -> bytes:
        """The response object."""
        said, output = said_whole(completion, self.chat), Output(self._envelope.id)
        said.tell(output)
        output.end(is_complete=is_whole(said.finish_reason))
        outcome = Outcome(
            output=output.written(),
            finish_reason=said.finish_reason,
            service_tier=said.service_tier,
            usage=usage_in(completion.body),
            at=int(self._now()),
        )
        return msgspec.json.encode(self._envelope.ended(outcome))

    def editor(self) -> ResponseEditor:
        """Makes the response's events; there is one for each request, and it also tells errors."""
        if self._editor is None:
            self._editor = ResponseEditor(self._envelope, self._now)
        return self._editor

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """The events of an answer that is whole."""
        yield self.editor().play(completion, understudy)

    def error_event(self, error: GatewayError, _: str) -> bytes:
        """The response as far as it came, and the error."""
        return self.editor().failed(error)

    def client_param(self, param: str) -> str:
        """Its place in the request."""
        return client_param(param, self._envelope.request.places)


class ResponsesWire:
    """``POST /v1/responses``.  ``new_id`` makes what is unlike in any two responses' ids."""

    def __init__(self, new_id: Callable[[], str], now: Callable[[], float]) -> None:
        self._new_id = new_id
        self._now = now

    def read(self, body: bytes, group: str | None) -> AskedResponse:
        """Understand a request.  Raises RequestError."""
        request = parse_request(body, group)
        envelope = Envelope(self._new_id(), int(self._now()), request)
        return AskedResponse(envelope, self._now)

    def error_body(self, error: GatewayError, _: str) -> bytes:
        """OpenAI's error object."""
        return error_body(error)
