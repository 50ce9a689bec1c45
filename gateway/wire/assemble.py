"""The chunks of a stream put together again: the completion that the server would have sent whole.

A delta's fields are pieces, which are joined; any other field states a fact, and its latest word
holds.  Values stay undecoded where they can, so that fields nobody here knows come through as well.
"""

from collections.abc import Sequence

import msgspec

from gateway.wire.chunk import Chunk
from gateway.wire.completion import part_of
from gateway.wire.stencil import Stencil

_NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b'""')
# Said once for a whole stream: what a later chunk makes of them is not to be believed more.
_FIRST_HOLDS = ("id", "created", "model")
# Chunks wait to be taken apart until they are this many bytes together, or somebody asks: of most
# answers nobody does, and the memory that waits stays small.
_MOST_WAITING_BYTES = 2**16

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_calls = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_number = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str)

_Facts = dict[str, msgspec.Raw]
_Pieces = dict[str, list[bytes]]


class Assembly:
    """One answer as it grows.

    Without ``is_logprobs_kept`` it has no log-probabilities, which are most of a stream's bytes.
    """

    def __init__(self, *, is_logprobs_kept: bool = True) -> None:
        self._is_logprobs_kept = is_logprobs_kept
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._stencil: Stencil | None = None
        self._identity: _Facts | None = None
        self._top: _Facts = {}
        self._choice: _Facts = {}
        self._role = msgspec.Raw(b'"assistant"')
        self._delta: _Pieces = {}
        self._token_ids: _Pieces = {}
        self._function_call: _Pieces = {}
        self._calls = _Calls()
        self._logprobs: list[bytes] | None = None

    def add(self, chunk: Chunk) -> None:
        """Take in the next chunk.  Raises ValueError where it is the news of an error."""
        if chunk.error is not None:
            raise ValueError("an error is no part of an answer")
        stencil, cut, body = chunk.stencil, chunk.cut, chunk.body
        if cut is None or stencil is None or stencil is not self._stencil:
            self._stencil = stencil
            self.add_body(body)
            return
        # It differs from one that was taken in before in its parts alone.
        if self._waiting:
            self._take_apart()
        self._delta["content"].append(stencil.content(body, cut))
        if stencil.has_logprobs and self._logprobs is not None and self._is_logprobs_kept:
            self._logprobs.append(stencil.logprobs(body, cut))
        if stencil.has_usage:
            self._top["usage"] = msgspec.Raw(stencil.usage(body, cut))

    def add_body(self, body: bytes) -> None:
        """Take in the next chunk as it is sent, where that is known to be no news of an error."""
        self._waiting.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self._take_apart()

    def add_text(self, text: str) -> None:
        """Take in the text of chunks of which nothing else is to be known."""
        if text:
            self._take_apart()
            _collect(self._delta, {"content": msgspec.Raw(msgspec.json.encode(text))})

    @property
    def text(self) -> str:
        """The answer's text so far, without reasoning and tool calls."""
        self._take_apart()
        return part_of(_text, _joined(self._delta.get("content", ()))) or ""

    def body(self) -> bytes:
        """The whole as one ``chat.completion``; ``finish_reason`` is null where none has come."""
        self._take_apart()
        choice: dict[str, object] = {"index": 0, "message": self._message()}
        if self._logprobs is not None:
            choice["logprobs"] = self._joined_logprobs()
        choice |= {"finish_reason": None, **self._choice, **_joined_all(self._token_ids)}
        identity = self._identity or {}
        fields: dict[str, object] = {**identity, "choices": [choice], **self._top, **identity}
        fields["object"] = "chat.completion"
        return msgspec.json.encode(fields)

    def _take_apart(self) -> None:
        for body in self._waiting:
            fields = _fields.decode(body)
            choices = _choices.decode(fields.pop("choices", _NULL))
            if self._identity is None and choices:  # Azure's first event has an empty id
                self._identity = {name: fields[name] for name in _FIRST_HOLDS if name in fields}
            _note(self._top, fields)
            if choices:
                self._add_choice(choices[0])
        self._waiting.clear()
        self._waiting_bytes = 0

    def _add_choice(self, choice: _Facts) -> None:
        self._add_delta(_fields_or_null.decode(choice.pop("delta", _NULL)) or {})
        logprobs = choice.pop("logprobs", None)
        if logprobs is not None:
            self._logprobs = self._logprobs or []
            if self._is_logprobs_kept and logprobs != _NULL:
                self._logprobs.append(bytes(logprobs))
        # These are vLLM's, one for each token, and so pieces although they stand outside the delta.
        token_ids = choice.pop("token_ids", None)
        if token_ids is not None:
            _collect(self._token_ids, {"token_ids": token_ids})
        choice.pop("index", None)
        _note(self._choice, choice)

    def _add_delta(self, delta: _Facts) -> None:
        role = delta.pop("role", _NULL)
        if role not in (_NULL, _EMPTY):
            self._role = role
        calls = delta.pop("tool_calls", None)
        if calls is not None:
            self._calls.add(calls)
        function_call = delta.pop("function_call", None)
        if function_call is not None:
            _collect(self._function_call, part_of(_fields, function_call) or {})
        _collect(self._delta, delta)

    def _message(self) -> dict[str, object]:
        message: dict[str, object] = {"role": self._role, "content": _NULL}
        message |= _joined_all(self._delta)
        calls = self._calls.joined()
        if calls:
            message["tool_calls"] = calls
            if message["content"] == _EMPTY:
                message["content"] = None
        if self._function_call:
            message["function_call"] = _joined_all(self._function_call)
        return message

    def _joined_logprobs(self) -> dict[str, msgspec.Raw] | None:
        pieces: _Pieces = {}
        for sent in self._logprobs or ():
            _collect(pieces, part_of(_fields, msgspec.Raw(sent)) or {})
        return _joined_all(pieces) or None


class _Calls:
    """Tool calls by their index, each with its facts and with those of its parts that grow."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[_Facts, dict[str, _Pieces]]] = {}

    def add(self, sent: msgspec.Raw) -> None:
        for call in part_of(_calls, sent) or ():
            facts, parts = self._calls.setdefault(self._place(call), ({}, {}))
            for name, value in call.items():
                if bytes(value).startswith(b"{"):
                    _collect(parts.setdefault(name, {}), _fields.decode(value))
                elif facts.get(name, _NULL) in (_NULL, _EMPTY):  # some servers repeat an empty id
                    facts[name] = value

    def joined(self) -> list[dict[str, object]]:
        return [
            {**facts, **{name: _joined_part(name, pieces) for name, pieces in parts.items()}}
            for _, (facts, parts) in sorted(self._calls.items())
        ]

    def _place(self, call: _Facts) -> int:
        """The index; where a server leaves it out, an id begins a call and all else goes on."""
        index = part_of(_number, call.pop("index", _NULL))
        if index is not None:
            return index
        last = max(self._calls, default=-1)
        is_begun = call.get("id", _NULL) not in (_NULL, _EMPTY)
        return last + 1 if is_begun else max(last, 0)


def _note(facts: _Facts, said: _Facts) -> None:
    for name, value in said.items():
        if value != _NULL or name not in facts:
            facts[name] = value


def _collect(pieces: _Pieces, said: _Facts) -> None:
    # A copy each, for what is undecoded keeps the whole chunk alive that it was a part of.
    for name, value in said.items():
        grown = pieces.setdefault(name, [])
        if value != _NULL:
            grown.append(bytes(value))


def _joined_part(name: str, pieces: _Pieces) -> dict[str, msgspec.Raw]:
    joined = _joined_all(pieces)
    if name == "function" and joined.get("arguments", _NULL) == _NULL:
        joined["arguments"] = _EMPTY  # clients rely on a string
    return joined


def _joined_all(pieces: _Pieces) -> dict[str, msgspec.Raw]:
    return {name: _joined(grown) for name, grown in pieces.items()}


def _joined(grown: Sequence[bytes]) -> msgspec.Raw:
    """Texts one after the other, lists likewise; of anything else the last word."""
    if all(piece.startswith(b'"') for piece in grown) and grown:
        return msgspec.Raw(b'"' + b"".join([piece[1:-1] for piece in grown]) + b'"')
    if all(piece.startswith(b"[") for piece in grown) and grown:
        items = [piece[1:-1].strip() for piece in grown]
        return msgspec.Raw(b"[" + b",".join([item for item in items if item]) + b"]")
    return msgspec.Raw(grown[-1]) if grown else _NULL
