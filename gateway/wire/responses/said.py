"""What a model says in a completion, or adds in a chunk, as far as a response can repeat it."""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.wire.chat import Chat
from gateway.wire.chunk import Chunk
from gateway.wire.client_reply import client_logprobs
from gateway.wire.completion import (
    Completion,
    answer_tokens,
    end_logprob_of,
    part_of,
)
from gateway.wire.responses.output import CallPiece, Event, Output
from gateway.wire.responses.reading import NULL, is_string

_REFUSAL = b'"refusal"'


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: msgspec.Raw = NULL


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Body(msgspec.Struct):
    choices: list[dict[str, msgspec.Raw]]
    service_tier: msgspec.Raw = NULL


class _Logprobs(msgspec.Struct):
    content: list[msgspec.Raw] | None = None


_body = msgspec.json.Decoder(_Body)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_calls = msgspec.json.Decoder(list[_Call] | None)
_function = msgspec.json.Decoder(_Function | None)
_logprobs = msgspec.json.Decoder(_Logprobs | None)
_text = msgspec.json.Decoder(str | None)


# A struct and no dataclass: one is built for every token, at a tenth of the cost.
class Said(msgspec.Struct, frozen=True, gc=False):
    """What is said; ``logprobs`` are entries of the text's tokens, where the client wants them.

    ``finish_reason`` and ``service_tier`` are None where they are not said, or not yet.
    """

    reasoning: str = ""
    text: str = ""
    logprobs: Sequence[msgspec.Raw] = ()
    refusal: str = ""
    calls: Sequence[CallPiece] = ()
    finish_reason: str | None = None
    service_tier: str | None = None

    def tell(self, output: Output) -> list[Event]:
        """Add it to an output; gives the events."""
        events = output.add_reasoning(self.reasoning) if self.reasoning else []
        if self.text or self.logprobs:
            events += output.add_text(self.text, self.logprobs)
        if self.refusal:
            events += output.add_text(self.refusal, is_refusal=True)
        for piece in self.calls:
            events += output.add_call(piece)
        return events


def said_whole(completion: Completion, chat: Chat) -> Said:
    """What a whole completion says."""
    body = _body.decode(completion.body)
    raw, choice = body.choices[0], completion.choices[0]
    message, content = choice.message, choice.message.content or ""
    reasoning = message.reasoning_content or message.reasoning or ""
    entries = _entries(raw.get("logprobs", NULL), chat)
    told = (choice.logprobs and choice.logprobs.content) or ()
    if reasoning and len(entries) == len(told):
        has_end = end_logprob_of(told, content) is not None
        kept = answer_tokens(told, content, has_end=has_end, has_reasoning=True)
        entries = entries[len(entries) - len(kept) - has_end :]
    fields = part_of(_fields, raw["message"]) or {}
    calls = [_piece(call, number) for number, call in enumerate(_calls_in(fields))]
    return Said(
        reasoning=reasoning,
        text=content,
        logprobs=entries,
        refusal=_refusal(fields),
        calls=calls,
        finish_reason=choice.finish_reason,
        service_tier=part_of(_text, body.service_tier),
    )


class ChunkReader:
    """Reads the chunks of one answer; knows which call a piece belongs to that does not say."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._last_call = -1

    def read(self, chunk: Chunk, content: str | None) -> Said:
        """What a chunk adds; ``content`` takes the place of its own, where it is given."""
        text = chunk.content if content is None else content
        said = Said(chunk.reasoning, text, finish_reason=chunk.finish_reason)
        is_told = self._chat.top_logprobs is not None
        has_more = chunk.is_tool_call or is_told or _REFUSAL in chunk.body
        if not has_more and chunk.finish_reason is None:
            return said  # nearly every chunk is a piece of text, and read already
        body = _body.decode(chunk.body)
        choice = body.choices[0]
        fields = part_of(_fields, choice.get("delta", NULL)) or {}
        calls = [_piece(call, self._number(call)) for call in _calls_in(fields)]
        is_text = bool(text) or not (chunk.reasoning or calls)
        return msgspec.structs.replace(
            said,
            logprobs=_entries(choice.get("logprobs", NULL), self._chat) if is_text else (),
            refusal=_refusal(fields),
            calls=calls,
            service_tier=part_of(_text, body.service_tier),
        )

    def _number(self, call: _Call) -> int:
        """The call's index; where there is none, an id begins a call and all else goes on."""
        number = call.index
        if number is None:
            number = self._last_call + 1 if call.id else max(self._last_call, 0)
        self._last_call = max(self._last_call, number)
        return number


def _calls_in(fields: Mapping[str, msgspec.Raw]) -> Sequence[_Call]:
    """The calls of a message or a delta, by the older ``function_call`` too."""
    calls = part_of(_calls, fields.get("tool_calls", NULL))
    function = part_of(_function, fields.get("function_call", NULL))
    return calls or ([] if function is None else [_Call(index=0, function=function)])


def _piece(call: _Call, number: int) -> CallPiece:
    function = call.function or _Function()
    return CallPiece(number, call.id or "", function.name or "", _arguments(function.arguments))


def _arguments(raw: msgspec.Raw) -> str:
    """Arguments as text; some servers write the object itself."""
    if raw == NULL:
        return ""
    return _text.decode(raw) or "" if is_string(raw) else bytes(raw).decode()


def _refusal(fields: Mapping[str, msgspec.Raw]) -> str:
    return part_of(_text, fields.get("refusal", NULL)) or ""


def _entries(logprobs: msgspec.Raw, chat: Chat) -> list[msgspec.Raw]:
    edited = msgspec.Raw(msgspec.json.encode(client_logprobs(logprobs, chat.top_logprobs)))
    parsed = part_of(_logprobs, edited)
    return (parsed and parsed.content) or []
