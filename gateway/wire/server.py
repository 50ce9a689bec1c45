"""How a model server is asked in each form of request, and its replies in the one internal form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.wire.chat import Chat, Dialect, Form, Prefix, upstream_body, upstream_stream_body
from gateway.wire.chunk import Chunk, decode
from gateway.wire.chunk_reader import ChunkReader
from gateway.wire.completion import Completion, read_completion
from gateway.wire.text.server import chunk_as_chat, reply_as_chat, text_body, text_stream_body


class ReadChunk(Protocol):
    """Reads the payload of one event."""

    def __call__(self, payload: bytes, *, is_evidence_wanted: bool) -> Chunk:
        """Raises ValueError where it is no chunk of a first choice."""


class ReadStream(Protocol):
    """Gives a reader of the events of one stream, which has a memory of those before."""

    def __call__(self, *, is_evidence_wanted: bool) -> Callable[[bytes], Chunk]:
        """Reads as ``ReadChunk`` does."""


@dataclass(frozen=True, slots=True)
class ServerForm:
    """One of a server's own routes.

    ``path`` goes behind the base URL; ``body`` and ``stream_body`` write requests.  ``reply`` and
    ``chunk`` read what the server sends, and raise ValueError where it is not as it should be.
    ``chunks`` reads a whole stream of the latter.
    """

    path: str
    body: Callable[[Chat, Dialect], bytes]
    stream_body: Callable[[Chat, Dialect, Prefix | None], bytes]
    reply: Callable[[bytes], Completion]
    chunk: ReadChunk
    chunks: ReadStream


def _read_text(body: bytes) -> Completion:
    return read_completion(reply_as_chat(body))


def _read_text_chunk(payload: bytes, *, is_evidence_wanted: bool) -> Chunk:
    return decode(chunk_as_chat(payload), is_evidence_wanted=is_evidence_wanted)


def _chat_chunks(*, is_evidence_wanted: bool) -> Callable[[bytes], Chunk]:
    return ChunkReader(is_evidence_wanted=is_evidence_wanted).read


def _text_chunks(*, is_evidence_wanted: bool) -> Callable[[bytes], Chunk]:
    read = ChunkReader(is_evidence_wanted=is_evidence_wanted).read
    return lambda payload: read(chunk_as_chat(payload))


SERVER_FORMS: Mapping[Form, ServerForm] = {
    Form.CHAT: ServerForm(
        "/chat/completions",
        upstream_body,
        upstream_stream_body,
        read_completion,
        decode,
        _chat_chunks,
    ),
    Form.TEXT: ServerForm(
        "/completions", text_body, text_stream_body, _read_text, _read_text_chunk, _text_chunks
    ),
}
