"""Reads the chunks of one stream, most of them by what the first of them has shown.

A server writes the same bytes around the text of every chunk.  Where a chunk fits the stencil of an
earlier one, only its parts are decoded; any other is decoded whole.  Both ways say the same.
"""

from collections.abc import Sequence

import msgspec

from gateway.wire.chunk import SILENCE, Chunk, decode
from gateway.wire.completion import Logprobs, ToldToken, UsageCounts
from gateway.wire.raw import is_too_deep
from gateway.wire.stencil import Stencil, stencil_of
from gateway.wire.usage import adds_up
from routing.streaming import Token

_tuple = tuple.__new__  # at half the time of a named tuple's own
_text = msgspec.json.Decoder(str)
_logprobs = msgspec.json.Decoder(Logprobs)
_usage = msgspec.json.Decoder(UsageCounts)
_valid = msgspec.json.Decoder(msgspec.Raw)


class ChunkReader:
    """Reads one stream.  Without ``is_evidence_wanted`` log-probabilities are passed over."""

    def __init__(self, *, is_evidence_wanted: bool) -> None:
        self._is_evidence_wanted = is_evidence_wanted
        self._stencil: Stencil | None = None
        # Drawing one costs some chunks' time: where it fitted none, as chunks of random padding,
        # no other will.
        self._is_worthwhile = True

    def read(self, payload: bytes) -> Chunk:
        """Read an event's payload.  Raises ValueError where it is no chunk of a first choice."""
        if self._stencil is not None:
            try:
                chunk = self._parts(payload, self._stencil)
            except (ValueError, RecursionError):
                chunk = None  # some part is not what it was before: whether it may be is seen below
            if chunk is not None:
                self._is_worthwhile = True
                return chunk
        chunk = decode(payload, is_evidence_wanted=self._is_evidence_wanted)
        if self._is_worthwhile and _is_plain(chunk):
            self._is_worthwhile = False
            stencil = stencil_of(payload)
            is_counted_elsewhere = chunk.counts is not None and not (stencil and stencil.has_usage)
            self._stencil = None if is_counted_elsewhere else stencil
        return chunk

    def _parts(self, payload: bytes, stencil: Stencil) -> Chunk | None:
        """What the parts say; None where they do not lie as they should."""
        parts = stencil.parts(payload)
        if parts is None or is_too_deep(payload):
            return None
        if not payload.isascii():
            payload.decode()  # as where a chunk is decoded whole
        cut, text, logprobs, usage = parts
        content = _text.decode(text)
        counts = _usage.decode(usage) if usage else None
        if counts is not None and not adds_up(counts):
            counts = None
        told: Sequence[ToldToken] = ()
        if logprobs:
            if self._is_evidence_wanted:
                told = _logprobs.decode(logprobs).content or ()
            else:
                _valid.decode(logprobs)
        tokens: Sequence[Token] = ()
        if told:
            tokens = _tokens_of(told)
        elif content and self._is_evidence_wanted:
            tokens = SILENCE
        return Chunk(
            body=payload,
            content=content,
            tokens=tokens,
            told_tokens=len(told),
            counts=counts,
            has_choice=True,
            stencil=stencil,
            cut=cut,
        )


def _tokens_of(told: Sequence[ToldToken]) -> list[Token]:
    """Each as one token.  Loops, for a list of an expression costs more than the two it holds."""
    tokens = []
    for entry in told:
        candidates = []
        for top in entry.top_logprobs or ():
            candidates.append(top.logprob)
        tokens.append(_tuple(Token, (entry.logprob, candidates)))
    return tokens


def _is_plain(chunk: Chunk) -> bool:
    """Whether it is a piece of text and nothing else, as most chunks of a stream are."""
    return bool(chunk.content) and not (
        chunk.finish_reason or chunk.is_tool_call or chunk.reasoning or chunk.has_unread_text
    )
