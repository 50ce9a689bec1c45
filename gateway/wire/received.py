"""How much came of an answer: for calls of which the server did not say what they took."""

from collections.abc import Sequence

import msgspec

from gateway.wire.chunk import Chunk
from gateway.wire.completion import Choice


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_chunk = msgspec.json.Decoder(_Chunk)


class Received:
    """What came of a stream since the server last said what it costs, or ever.

    ``tokens`` are those that it told of one by one, ``characters`` those of all text, and
    ``untold`` those of text in which it told of no token.  ``whole_characters`` are those of all
    the answer, where the server counted only at its end; else there are none.
    """

    __slots__ = ("characters", "has_begun", "tokens", "untold", "whole_characters")

    def __init__(self) -> None:
        self.tokens = 0
        self.characters = 0
        self.untold = 0
        self.has_begun = False
        self.whole_characters = 0

    def add(self, chunk: Chunk) -> None:
        """Take in one chunk of the answer."""
        self.has_begun = self.has_begun or chunk.says_something
        characters = len(chunk.content) + len(chunk.reasoning)
        if chunk.is_tool_call:
            characters += _called(chunk)
        self.characters += characters
        self.tokens += chunk.told_tokens
        if not chunk.told_tokens:
            self.untold += characters

    def counted(self, *, is_end: bool) -> None:
        """The server has counted all that came; ``is_end``: for the first time, at the end."""
        if is_end:
            self.whole_characters = self.characters
        self.tokens = self.characters = self.untold = 0


def _called(chunk: Chunk) -> int:
    """The characters of names and arguments in a piece of a tool call."""
    try:
        choices = _chunk.decode(chunk.body).choices
    except msgspec.ValidationError:  # not as it should be: what it says is not to be counted
        return 0
    count = 0
    for choice in choices:
        delta = choice.delta or _Delta()
        functions = [call.function for call in delta.tool_calls or ()]
        for function in (*functions, delta.function_call):
            if function is not None:
                count += len(function.name or "") + len(function.arguments or "")
    return count


def characters_in(choices: Sequence[Choice]) -> int:
    """The characters of whole answers: words, reasoning, names and arguments of tool calls."""
    count = 0
    for choice in choices:
        message = choice.message
        count += len(message.content or "")
        count += len(message.reasoning_content or message.reasoning or "")
        for call in message.tool_calls or ():
            if call.function is not None:
                count += len(call.function.name or "") + len(call.function.arguments or "")
        if (function := message.function_call) is not None:
            count += len(function.name or "") + len(function.arguments or "")
    return count
