"""How a model server is asked in each form of request, and its replies in the one internal form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.wire.chat import Chat, Dialect, Form, Prefix, upstream_body, upstream_stream_body
from gateway.wire.chunk import Chunk, decode
from gateway.wire.completion import Completion, read_completion
from gateway.wire.text.server import chunk_as_chat, reply_as_chat, text_body, text_stream_body


class ReadChunk(Protocol):
    """Reads the payload of one event."""

    def __call__(self, payload: bytes, *, is_evidence_wanted: bool) -> Chunk:
        """Raises ValueError where it is no chunk of a first choice."""


@dataclass(frozen=True, slots=True)
class ServerForm:
    """One of a server's own routes.

    ``path`` goes behind the base URL; ``body`` and ``stream_body`` write requests.  ``reply`` and
    ``chunk`` read what the server sends, and raise ValueError where it is not as it should be.
    """

    path: str
    body: Callable[[Chat, Dialect], bytes]
    stream_body: Callable[[Chat, Dialect, Prefix | None], bytes]
    reply: Callable[[bytes], Completion]
    chunk: ReadChunk


def _read_text(body: bytes) -> Completion:
    return read_completion(reply_as_chat(body))


def _read_text_chunk(payload: bytes, *, is_evidence_wanted: bool) -> Chunk:
    return decode(chunk_as_chat(payload), is_evidence_wanted=is_evidence_wanted)


SERVER_FORMS: Mapping[Form, ServerForm] = {
    Form.CHAT: ServerForm(
        "/chat/completions", upstream_body, upstream_stream_body, read_completion, decode
    ),
    Form.TEXT: ServerForm(
        "/completions", text_body, text_stream_body, _read_text, _read_text_chunk
    ),
}
