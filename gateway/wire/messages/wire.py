"""``POST /v1/messages``: Anthropic's Messages API, which is a chat in other words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from gateway.errors import GatewayError
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion
from gateway.wire.messages.errors import error_body, error_event
from gateway.wire.messages.events import MessageEditor, replayed
from gateway.wire.messages.reply import message_fields, message_in
from gateway.wire.messages.request import MessageRequest, parse_request


@dataclass(frozen=True, slots=True)
class AskedMessage:
    """One message that a client asks for."""

    request: MessageRequest
    can_restart: bool = False  # a message's stream has no word for it

    @property
    def chat(self) -> Chat:
        """The same as a chat."""
        return self.request.chat

    def whole(self, completion: Completion) -> bytes:
        """The message."""
        message = message_in(completion, self.request.terms)
        return msgspec.json.encode(message_fields(message, self.chat.model))

    def editor(self) -> MessageEditor:
        """Makes the message's events."""
        return MessageEditor(self.request.terms)

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """The events of a message that is whole."""
        message = message_in(completion, self.request.terms)
        return replayed(message, self.chat.model, understudy)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """Anthropic's error object as the last event."""
        return error_event(error, request_id)

    def client_param(self, param: str) -> str:
        """What the client calls a parameter of the chat."""
        return self.request.client_param(param)


class MessagesWire:
    """The protocol."""

    def read(self, body: bytes, group: str | None) -> AskedMessage:
        """Understand a request.  Raises RequestError."""
        return AskedMessage(parse_request(body, group))

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """Anthropic's error object."""
        return error_body(error, request_id)
