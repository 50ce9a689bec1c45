"""A completion, and its stream, as the client is given them: the internal answer in OpenAI's form.

Log-probabilities are four lists, in whichever form the server told of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.errors import GatewayError
from gateway.wire.chat import Chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion, part_of
from gateway.wire.errors import error_body, error_event
from gateway.wire.replay import event
from gateway.wire.sse import DONE
from gateway.wire.text.request import Prompt, parse_text

_NULL = msgspec.Raw(b"null")
_KIND = "text_completion"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_text = msgspec.json.Decoder(str | None)
_index = msgspec.json.Decoder(int)


class _Candidate(msgspec.Struct):
    token: str
    logprob: float


class _Token(_Candidate):
    top_logprobs: list[_Candidate] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs | None)


@dataclass(frozen=True, slots=True)
class AskedText:
    """One completion that a client asks for; ``prompts`` are repeated where ``is_echo``."""

    chat: Chat
    prompts: Sequence[Prompt]
    is_echo: bool
    can_restart: bool = False

    def whole(self, completion: Completion) -> bytes:
        """The response's body."""
        return msgspec.json.encode(self._fields(completion))

    def editor(self) -> "TextEditor":
        """Makes the response's events."""
        return TextEditor(self)

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """One event for each answer, then the usage where it is wanted."""
        fields = self._fields(completion)
        answers: list[Mapping[str, object]] = fields.pop("choices")  # type: ignore[assignment]
        usage = fields.pop("usage", None)
        report: list[dict[str, object]] = [{**fields, "choices": [one]} for one in answers]
        if self.chat.is_usage_wanted:
            report = [{**one, "usage": None} for one in report]
            report.append({**fields, "choices": [], "usage": usage})
        report[-1]["understudy"] = understudy
        yield from map(event, report)
        yield _done()

    def error_event(self, error: GatewayError, _: str) -> bytes:
        """OpenAI's error object as the last event."""
        return error_event(error)

    def client_param(self, param: str) -> str:
        """The same, for models are asked in the client's words; inside a prompt is a message."""
        return "prompt" if param == "messages" else param

    def echo(self, index: int) -> str:
        """What comes before the answer of that index."""
        if not self.is_echo:
            return ""
        answers = max(self.chat.choices // len(self.prompts), 1)
        place = min(max(index, 0) // answers, len(self.prompts) - 1)  # a server may say anything
        prompt = self.prompts[place]
        return prompt if isinstance(prompt, str) else ""

    def _fields(self, completion: Completion) -> dict[str, object]:
        fields: dict[str, object] = {**_fields.decode(completion.body)}
        found = _choices.decode(fields["choices"]) or []  # type: ignore[arg-type]  # a Raw is a buffer
        fields |= {"object": _KIND, "model": self.chat.model}
        fields["choices"] = [self._whole_choice(place, one) for place, one in enumerate(found)]
        return fields

    def _whole_choice(self, place: int, choice: dict[str, msgspec.Raw]) -> dict[str, object]:
        index = part_of(_index, choice.get("index", _NULL))
        place = place if index is None else index
        lists = _Lists(self.chat.top_logprobs)
        words = self.echo(place) + _words(choice.pop("message", _NULL))
        told: dict[str, object] = {"index": place, "text": words, **choice}
        told["logprobs"] = lists.next(choice.get("logprobs", _NULL))
        return told


class TextEditor:
    """Makes of chunks the events of one client's stream.  All get the id and time of the first."""

    def __init__(self, asked: AskedText) -> None:
        self._chat = asked.chat
        self._lists = _Lists(asked.chat.top_logprobs)
        self._echo = asked.echo(0)
        self._identity: dict[str, object] = {"object": _KIND}
        self._report: dict[str, object] = {}

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The event for the client; none for a role alone, and for a usage report."""
        fields = self._envelope(chunk)
        if chunk.is_usage_report:
            self._report = fields
            return b""
        if chunk.has_choice:
            written = content if is_continuation else None
            found = _choices.decode(fields["choices"]) or []  # type: ignore[arg-type]  # as above
            fields["choices"] = [self._choice(choice, written) for choice in found]
        if understudy is not None:
            fields["understudy"] = understudy
        return event(fields)

    def usage_event(
        self,
        usage: Mapping[str, object] | msgspec.Raw | None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The last event of a client that asked for usage."""
        fields = {**self._identity, **self._report, "choices": [], "usage": usage}
        if understudy is not None:
            fields["understudy"] = understudy
        return event({**fields, "object": _KIND, "model": self._chat.model})

    def closing_event(self, understudy: Mapping[str, object]) -> bytes:
        """An event that says nothing but what the gateway has to say of the answer."""
        choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
        fields = {**self._identity, "model": self._chat.model, "choices": [choice]}
        return event({**fields, "understudy": understudy})

    def restart_event(self, discarded_characters: int) -> bytes:
        """Never asked: this protocol has no way to take back what is out."""
        raise NotImplementedError

    def done(self) -> bytes:
        """The event that ends the stream."""
        return _done()

    def _envelope(self, chunk: Chunk) -> dict[str, object]:
        fields: dict[str, object] = {**_fields.decode(chunk.body)}
        if "id" not in self._identity and (chunk.has_choice or chunk.is_usage_report):
            self._identity |= {name: fields[name] for name in ("id", "created") if name in fields}
        fields |= {**self._identity, "model": self._chat.model}
        if self._chat.is_usage_wanted:
            fields["usage"] = None
        else:
            fields.pop("usage", None)
        return fields

    def _choice(self, choice: dict[str, msgspec.Raw], content: str | None) -> dict[str, object]:
        delta = choice.pop("delta", _NULL)
        words = self._echo + (_words(delta) if content is None else content)
        self._echo = ""
        told: dict[str, object] = {"index": 0, "text": words, **choice}
        told["logprobs"] = self._lists.next(choice.get("logprobs", _NULL))
        return told


class _Lists:
    """Log-probabilities as four lists, at most so many candidates a token; over one answer.

    ``text_offset`` counts characters of the answer from its beginning.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._offset = 0

    def next(self, told: msgspec.Raw) -> Mapping[str, object] | None:
        """The next part of an answer; None where nobody asked, or nothing can be read."""
        said = None if self._most is None else part_of(_logprobs, told)
        if said is None or said.content is None:
            return None
        offsets = []
        for token in said.content:
            offsets.append(self._offset)
            self._offset += len(token.token)
        return {
            "text_offset": offsets,
            "token_logprobs": [token.logprob for token in said.content],
            "tokens": [token.token for token in said.content],
            "top_logprobs": [self._candidates(token) for token in said.content],
        }

    def _candidates(self, token: _Token) -> Mapping[str, float]:
        """The token that was drawn, and the likeliest."""
        likeliest = {one.token: one.logprob for one in (token.top_logprobs or ())[: self._most]}
        return {token.token: token.logprob, **likeliest}


class TextWire:
    """``POST /v1/completions``."""

    def read(self, body: bytes, group: str | None) -> AskedText:
        """Understand a request.  Raises RequestError."""
        return AskedText(*parse_text(body, group))

    def error_body(self, error: GatewayError, _: str) -> bytes:
        """OpenAI's error object."""
        return error_body(error)


def _words(part: msgspec.Raw) -> str:
    fields = part_of(_fields_or_null, part) or {}
    return part_of(_text, fields.get("content", _NULL)) or ""


def _done() -> bytes:
    return b"data: " + DONE + b"\n\n"
