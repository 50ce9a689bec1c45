"""An answer as its client gets it, noted on its way out, where it is to be stored.

It stands between the exchange and the protocol, so that whoever is not to be stored pays nothing.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from gateway.errors import GatewayError
from gateway.wire.assemble import Assembly
from gateway.wire.chat import Chat
from gateway.wire.chat_wire import AskedChat
from gateway.wire.chunk import Chunk
from gateway.wire.chunk_editor import ChunkEditor
from gateway.wire.completion import Completion

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_BEFORE, _AFTER = len(b"data: "), len(b"\n\n")

# Takes the completion that a client got.
Write = Callable[[bytes], None]


class Recording:
    """One request for a chat completion; fits ``Asked``.

    A stream is written with its last event, any other answer once it is about to leave: what was
    made and not sent is not stored.
    """

    def __init__(self, asked: AskedChat, write: Write) -> None:
        self._asked = asked
        self._write = write
        self._body: bytes | None = None

    @property
    def chat(self) -> Chat:
        """The request."""
        return self._asked.chat

    @property
    def can_restart(self) -> bool:
        """As the protocol says."""
        return self._asked.can_restart

    def whole(self, completion: Completion) -> bytes:
        """The response's body, which is what is stored."""
        self._body = self._asked.whole(completion)
        return self._body

    def editor(self) -> "RecordingEditor":
        """Makes the response's events, and notes them."""
        return RecordingEditor(self._asked.editor(), self._write)

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """The response's events: of what is stored, but in pieces."""
        self._body = self._asked.whole(completion)
        return self._asked.replay(completion, understudy)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """As the protocol says; nothing is stored."""
        return self._asked.error_event(error, request_id)

    def client_param(self, param: str) -> str:
        """As the protocol says."""
        return self._asked.client_param(param)

    def leaving(self) -> None:
        """The answer is about to leave."""
        if self._body is not None:
            self._write(self._body)


class RecordingEditor:
    """Fits ``StreamEditor``: an editor whose events are put together again for the record.

    Usage is recorded also where the client did not ask for it, unless two servers wrote.
    """

    def __init__(self, editor: ChunkEditor, write: Write) -> None:
        self._editor = editor
        self._write = write
        self._assembly = Assembly()
        self._usage: msgspec.Raw | None = None

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The event for the client."""
        if chunk.usage is not None:
            self._usage = chunk.usage_as_sent()
        if is_continuation:
            self._usage = None
        return self._noted(
            self._editor.edit(
                chunk, is_continuation=is_continuation, content=content, understudy=understudy
            )
        )

    def usage_event(
        self,
        usage: Mapping[str, object] | msgspec.Raw | None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The bill."""
        return self._noted(self._editor.usage_event(usage, understudy))

    def closing_event(self, understudy: Mapping[str, object]) -> bytes:
        """What the gateway says of the answer, which is no part of it."""
        return self._editor.closing_event(understudy)

    def restart_event(self, discarded_characters: int) -> bytes:
        """What came before it is thrown away, here too."""
        self._assembly, self._usage = Assembly(), None
        return self._editor.restart_event(discarded_characters)

    def done(self) -> bytes:
        """The end: by now the answer is whole."""
        fields: dict[str, object] = {**_fields.decode(self._assembly.body())}
        fields.pop("understudy", None)
        if fields.get("usage", _NULL) == _NULL and self._usage is not None:
            fields["usage"] = self._usage
        self._write(msgspec.json.encode(fields))
        return self._editor.done()

    def _noted(self, event: bytes) -> bytes:
        if event:
            self._assembly.add_body(event[_BEFORE:-_AFTER])
        return event
