"""A response as server-sent events, while its answer is written or after."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.errors import GatewayError
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from gateway.wire.errors import error_fields
from gateway.wire.raw import one_line
from gateway.wire.responses.output import Event, Output
from gateway.wire.responses.reply import Envelope, Outcome, is_whole, usage_in
from gateway.wire.responses.said import ChunkReader, said_whole


class ResponseEditor:
    """Makes of a model server's chunks the events of one response.

    The end waits for ``done``, when usage and trailer are known.
    """

    def __init__(self, envelope: Envelope, now: Callable[[], float]) -> None:
        self._envelope = envelope
        self._now = now
        self._output = Output(envelope.id)
        self._reader = ChunkReader(envelope.request.chat)
        self._number = 0
        self._finish_reason: str | None = None
        self._service_tier: str | None = None
        self._usage: Mapping[str, object] | msgspec.Raw | None = None
        self._understudy: Mapping[str, object] | None = None

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The events of what a chunk adds.

        An answer that a second server goes on with (``is_continuation``) needs nothing else: its
        text joins the item that is open.
        """
        if understudy is not None:
            self._understudy = understudy
        if not chunk.has_choice:
            return b""
        said = self._reader.read(chunk, content)
        self._finish_reason = said.finish_reason or self._finish_reason
        self._service_tier = said.service_tier or self._service_tier
        return self._written([*self._opening(), *said.tell(self._output)])

    def usage_event(
        self,
        usage: Mapping[str, object] | msgspec.Raw | None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """Takes in what the last event says of usage; nothing goes out."""
        self._usage = usage
        self._understudy = understudy
        return b""

    def closing_event(self, understudy: Mapping[str, object]) -> bytes:
        """Takes in what the last event says of the answer; nothing goes out."""
        self._understudy = understudy
        return b""

    def restart_event(self, _: int) -> bytes:
        """Never asked: no event of a response takes back what is out."""
        raise RuntimeError("a response cannot be started again")

    def done(self) -> bytes:
        """The end of all items, and the whole response, which is the last event."""
        events = self._opening() + self._output.end(is_complete=is_whole(self._finish_reason))
        outcome = Outcome(
            output=self._output.written(),
            finish_reason=self._finish_reason,
            service_tier=self._service_tier,
            usage=self._usage,
            at=int(self._now()),
        )
        response = self._envelope.ended(outcome)
        last: Event = {"type": f"response.{response['status']}", "response": response}
        if self._understudy is not None:
            last["understudy"] = self._understudy
        return self._written([*events, last])

    def play(self, completion: Completion, understudy: Mapping[str, object]) -> bytes:
        """All events of an answer that is whole."""
        said = said_whole(completion, self._envelope.request.chat)
        self._finish_reason, self._service_tier = said.finish_reason, said.service_tier
        self._usage, self._understudy = usage_in(completion.body), understudy
        return self._written([*self._opening(), *said.tell(self._output)]) + self.done()

    def failed(self, error: GatewayError) -> bytes:
        """The end of a stream that fails: the response as far as it came, and the error.

        The official client raises the second, and so does one that would take what has come for
        the whole answer.
        """
        self._output.end(is_complete=False)
        response = self._envelope.failed(error, self._output.written())
        fields = error_fields(error)
        told = {name: fields[name] for name in ("code", "message", "param")}
        return self._written(
            [
                *self._opening(),
                {"type": "response.failed", "response": response},
                {"type": "error", **told, "error": fields},
            ]
        )

    def _opening(self) -> list[Event]:
        """The events that begin the stream, the first time."""
        if self._number:
            return []
        response = self._envelope.begun()
        kinds = ("response.created", "response.in_progress")
        return [{"type": kind, "response": response} for kind in kinds]

    def _written(self, events: Sequence[Event]) -> bytes:
        written = []
        for event in events:
            event["sequence_number"] = self._number
            self._number += 1
            payload = one_line(msgspec.json.encode(event))
            written.append(b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), payload))
        return b"".join(written)
