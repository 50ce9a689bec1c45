"""One chunk of a streamed chat completion: what is read of it.

Only what the gateway needs is decoded; the rest is carried over undecoded, so that fields nobody
here has heard of reach the client as they came.  Streams of one choice are read, no others.
"""

from collections.abc import Sequence

import msgspec

from gateway.wire.completion import (
    InputDetails,
    Logprobs,
    ToldToken,
    UsageCounts,
    answer_tokens,
    end_logprob_of,
    part_of,
    usage_of,
)
from gateway.wire.raw import is_too_deep
from gateway.wire.stencil import Cut, Stencil
from gateway.wire.usage import adds_up
from routing.money import Usage
from routing.streaming import Token

_NULL = msgspec.Raw(b"null")
_ERROR = msgspec.Raw(b'"error"')
# Something was written, and the server said nothing of how sure it was.
SILENCE = (Token(None, ()),)


# gc=False: a chunk is a tree, so the collector need not walk its objects for cycles.
class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = _NULL


class _BareChoice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Choice(_BareChoice, gc=False):
    logprobs: Logprobs | None = None


class _Timings(msgspec.Struct, gc=False):
    """How llama.cpp counts: the input is what it had cached and what it had to read."""

    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0


class _BareChunk(msgspec.Struct, gc=False):
    choices: list[_BareChoice] | None = None
    usage: UsageCounts | None = None
    timings: _Timings | None = None
    error: msgspec.Raw = _NULL


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: UsageCounts | None = None
    timings: _Timings | None = None
    error: msgspec.Raw = _NULL


class _Loose(msgspec.Struct):
    choices: list[dict[str, msgspec.Raw]] | None = None
    usage: msgspec.Raw = _NULL
    timings: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


_NOTHING = _Delta()
_NO_END = frozenset({None, "", "length"})
# Stands for a usage that is there and cannot be read: no count is negative.
_UNREADABLE = UsageCounts(prompt_tokens=-1, completion_tokens=-1)

_chunk = msgspec.json.Decoder(_Chunk)
_bare_chunk = msgspec.json.Decoder(_BareChunk)
_loose = msgspec.json.Decoder(_Loose)
_index = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str | None)
_calls = msgspec.json.Decoder(list[msgspec.Raw] | None)
_logprobs = msgspec.json.Decoder(Logprobs | None)
_usage = msgspec.json.Decoder(UsageCounts | None)
_timings = msgspec.json.Decoder(_Timings | None)
_any = msgspec.json.Decoder()
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


# A struct and no dataclass: one is built for every token, at a tenth of the cost.
class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One chunk: ``body`` as the server sent it, and what it adds to the answer.

    ``tokens`` are those of the answer alone, without reasoning and the end-of-sequence token; where
    text or a tool call came without log-probabilities, one token without evidence; ``told_tokens``
    counts all that the server told of, reasoning and the end included; ``end_logprob`` is what the
    server said of the end-of-sequence token.  ``counts`` are what all chunks so far took, None
    where this one does not say, or nothing that can be.  ``is_usage_report`` tells the chunk that
    has no choices and only ends the stream's bill.  ``has_unread_text``: there is something in
    place of text that cannot be read as text.  ``error`` is the server's message where this is no
    chunk but the news that the stream broke off, and ``is_foreign`` is no chunk either: a sign of
    life, or nothing at all.  Of both nothing else is set.  ``stencil`` is what it was read by,
    where that is known, and ``cut`` where its parts lie; then it has text, tokens and counts, and
    nothing else of these.
    """

    body: bytes
    content: str = ""
    reasoning: str = ""
    is_tool_call: bool = False
    finish_reason: str | None = None
    tokens: Sequence[Token] = ()
    told_tokens: int = 0
    end_logprob: float | None = None
    counts: UsageCounts | None = None
    has_choice: bool = False
    is_usage_report: bool = False
    has_unread_text: bool = False
    error: str | None = None
    is_foreign: bool = False
    stencil: Stencil | None = None
    cut: Cut | None = None

    @property
    def usage(self) -> Usage | None:
        """What all chunks so far cost; None where this one does not say."""
        return usage_of(self.counts)

    @property
    def is_answer(self) -> bool:
        """Whether it belongs to the answer, which begins after role and reasoning."""
        return bool(self.content) or self.is_tool_call or self.finish_reason is not None

    @property
    def says_something(self) -> bool:
        """Whether there is more to it than a role."""
        return self.is_answer or bool(self.reasoning) or bool(self.tokens) or self.has_unread_text

    def usage_as_sent(self) -> msgspec.Raw | None:
        """The usage object with all that the server put into it; None where there is none."""
        raw = _fields.decode(self.body).get("usage", _NULL)
        return None if raw == _NULL else raw


def decode(payload: bytes, *, is_evidence_wanted: bool = True) -> Chunk:
    """Read the payload of one event.  Raises ValueError where it is no chunk of a first choice.

    Without ``is_evidence_wanted`` log-probabilities are passed over and ``tokens`` is empty.
    """
    payload.decode()  # what passes undecoded goes into pairs too, where it must be readable
    if is_too_deep(payload):
        raise ValueError("a chunk that is nested too deeply")
    decoder = _chunk if is_evidence_wanted else _bare_chunk
    has_unread_text = False
    try:
        parsed: _Chunk | _BareChunk = decoder.decode(payload)
    except msgspec.ValidationError:
        parsed, has_unread_text = _salvaged(payload)
    if parsed.error != _NULL:
        return Chunk(body=payload, error=_message_of(parsed.error))
    if parsed.choices is None and parsed.usage is None:
        return _foreign(payload)
    counts = _counts_of(parsed)
    if not parsed.choices:
        return Chunk(body=payload, counts=counts, is_usage_report=parsed.usage is not None)
    choice = parsed.choices[0]
    if len(parsed.choices) > 1 or choice.index != 0:
        raise ValueError("a chunk of another choice than the first")
    delta = choice.delta or _NOTHING
    is_tool_call = bool(delta.tool_calls) or delta.function_call != _NULL
    tokens: Sequence[Token] = ()
    told: Sequence[ToldToken] = ()
    end_logprob = None
    if is_evidence_wanted:
        told = _told(choice)
        end_logprob = _end_logprob(choice, told)
        has_words = bool(delta.content) or is_tool_call or has_unread_text
        has_end = end_logprob is not None
        tokens = _tokens(choice, told, has_words=has_words, has_end=has_end)
    return Chunk(
        body=payload,
        content=delta.content or "",
        reasoning=delta.reasoning_content or delta.reasoning or "",
        is_tool_call=is_tool_call,
        finish_reason=choice.finish_reason or None,
        tokens=tokens,
        told_tokens=len(told),
        end_logprob=end_logprob,
        counts=counts,
        has_choice=True,
        has_unread_text=has_unread_text,
    )


def _told(choice: _BareChoice) -> Sequence[ToldToken]:
    logprobs = choice.logprobs if isinstance(choice, _Choice) else None
    return (logprobs and logprobs.content) or ()


def _end_logprob(choice: _BareChoice, told: Sequence[ToldToken]) -> float | None:
    """What the server said of the end-of-sequence token, where it is in this chunk."""
    if choice.finish_reason in _NO_END:
        return None
    return end_logprob_of(told, (choice.delta or _NOTHING).content or "")


def _foreign(payload: bytes) -> Chunk:
    """An event without choices and without a bill: some servers tell an error in that form."""
    fields = _fields.decode(payload)
    if fields.get("object") == _ERROR:
        return Chunk(body=payload, error=_message_of(fields.get("message", _NULL)))
    return Chunk(body=payload, is_foreign=True)


def _tokens(
    choice: _BareChoice, told: Sequence[ToldToken], *, has_words: bool, has_end: bool
) -> Sequence[Token]:
    """The answer's tokens; where the server said nothing of the words, one without evidence."""
    if not told:
        return SILENCE if has_words else ()
    delta = choice.delta or _NOTHING
    reasoning = delta.reasoning if delta.reasoning_content is None else delta.reasoning_content
    kept = answer_tokens(
        told,
        delta.content or "",
        has_end=has_end,
        # A piece of reasoning without any text is half a character: its token is no answer either.
        has_reasoning=bool(reasoning) or (reasoning is not None and not has_words),
    )
    # Lists inside: a tuple of a generator costs twice as much, here for every token.
    return [
        Token(entry.logprob, [top.logprob for top in entry.top_logprobs or ()]) for entry in kept
    ]


def _counts_of(chunk: _Chunk | _BareChunk) -> UsageCounts | None:
    """What the server has counted, where that can be."""
    counts, timings = chunk.usage, chunk.timings
    if counts is None and timings is not None:
        counts = UsageCounts(
            prompt_tokens=timings.cache_n + timings.prompt_n,
            completion_tokens=timings.predicted_n,
            prompt_tokens_details=InputDetails(cached_tokens=timings.cache_n),
        )
    return counts if counts is not None and adds_up(counts) else None


def _message_of(error: msgspec.Raw) -> str:
    said = _any.decode(error)
    message = said.get("message") if isinstance(said, dict) else said
    return message if isinstance(message, str) else "no message"


def _salvaged(payload: bytes) -> tuple[_Chunk, bool]:
    """A chunk of which a part is not as it should be: that part is unknown, the rest counts.

    Says too whether there is something in place of text that cannot be read as text.
    """
    loose = _loose.decode(payload)
    usage = part_of(_usage, loose.usage)
    if usage is None and loose.usage != _NULL:
        usage = _UNREADABLE
    choices, has_unread_text = [], False
    for fields in loose.choices or ():
        parts = _fields_or_null.decode(fields.get("delta", _NULL)) or {}
        content = part_of(_text, parts.get("content", _NULL))
        has_unread_text |= content is None and parts.get("content", _NULL) != _NULL
        delta = _Delta(
            content=content,
            reasoning_content=part_of(_text, parts.get("reasoning_content", _NULL)),
            reasoning=part_of(_text, parts.get("reasoning", _NULL)),
            tool_calls=part_of(_calls, parts.get("tool_calls", _NULL)),
            function_call=parts.get("function_call", _NULL),
        )
        choice = _Choice(
            index=_index.decode(fields["index"]) if "index" in fields else 0,
            delta=delta,
            finish_reason=part_of(_text, fields.get("finish_reason", _NULL)),
            logprobs=part_of(_logprobs, fields.get("logprobs", _NULL)),
        )
        choices.append(choice)
    return _Chunk(
        choices=choices if loose.choices is not None else None,
        usage=usage,
        timings=part_of(_timings, loose.timings),
        error=loose.error,
    ), has_unread_text
