"""OpenAI's chat completions: the protocol that is the internal form already."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.errors import GatewayError
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.chunk_editor import ChunkEditor
from gateway.wire.client_reply import client_body
from gateway.wire.completion import Completion
from gateway.wire.errors import error_body, error_event
from gateway.wire.replay import replay


class AskedChat(Struct, frozen=True):
    """One chat completion that a client asks for."""

    chat: Chat
    can_restart: bool = True

    def whole(self, completion: Completion) -> bytes:
        """The completion as its server wrote it, but for the model's name and log-probabilities."""
        return client_body(completion, self.chat)

    def editor(self) -> ChunkEditor:
        """Makes the response's chunks."""
        return ChunkEditor(self.chat)

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """The completion as chunks."""
        return replay(completion, self.chat, understudy)

    def error_event(self, error: GatewayError, _: str) -> bytes:
        """OpenAI's error object as the last event."""
        return error_event(error)

    def client_param(self, param: str) -> str:
        """The same: models are asked in the client's words."""
        return param


class ChatWire:
    """``POST /v1/chat/completions``."""

    def read(self, body: bytes, group: str | None) -> AskedChat:
        """Understand a request.  Raises RequestError."""
        return AskedChat(parse_chat(body, group))

    def error_body(self, error: GatewayError, _: str) -> bytes:
        """OpenAI's error object."""
        return error_body(error)
