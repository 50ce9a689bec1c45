"""What the scripted models of the traffic say: answers whole and in chunks, with a usage told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.chunks import chunk, usage_report
from tests.fakes.script import ROLE, BreakOff, Raw, Step, entry
from tests.fakes.upstream import Reply, completion


@dataclass(frozen=True)
class Tokens:
    """What one call took.  ``cached`` is part of ``input``, ``reasoning`` of ``output``."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0

    def told(self) -> dict[str, Any]:
        """As a server tells it."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def without(self, part: "Tokens") -> "Tokens":
        """The others."""
        return Tokens(
            self.input - part.input,
            self.output - part.output,
            self.cached - part.cached,
            self.reasoning - part.reasoning,
        )

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Tokens":
        """Read what was told, however much of it."""
        cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        reasoning = (told.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        return cls(told["prompt_tokens"], told["completion_tokens"], cached, reasoning)


def words(count: int) -> list[str]:
    """So many different words, each with a blank behind it."""
    return [f"w{number} " for number in range(count)]


@dataclass(frozen=True)
class Speech:
    """An answer: its words by how sure each is of itself, and the usage that is told of it.

    ``is_counted``: every chunk of it says what it has cost so far, as vLLM's do.
    """

    logprobs: Sequence[float]
    tokens: Tokens | None
    is_counted: bool = False

    def reply(self, *last: Step) -> Reply:
        """The answer, whole or streamed.  In place of a stream's end comes ``last``, if given."""
        begun, end = self.steps(), self._end()
        body = completion(
            "".join(words(len(self.logprobs))),
            choice={"logprobs": {"content": self._entries()}},
            usage=None if self.tokens is None else self.tokens.told(),
        )
        return Reply(body=body, steps=[*begun, *(last or end)])

    def steps(self) -> list[Step]:
        """The stream without its end: its role, and a chunk for each word."""
        steps: list[Step] = [ROLE]
        for place, each in enumerate(self._entries()):
            running = self._running(place + 1)
            steps.append(Raw(chunk({"content": each["token"]}, [each], **running)))
        return steps

    def _entries(self) -> list[dict[str, Any]]:
        said = words(len(self.logprobs))
        return [entry(text, sure) for text, sure in zip(said, self.logprobs, strict=True)]

    def _running(self, count: int) -> dict[str, Any]:
        if not self.is_counted or self.tokens is None:
            return {}
        return {"usage": replace(self.tokens, output=count, reasoning=0).told()}

    def _end(self) -> list[Step]:
        end: list[Step] = [Raw(chunk({}, choice={"finish_reason": "stop"}))]
        if self.tokens is not None:
            end.append(Raw(usage_report(self.tokens.told())))
        return end


def choices(logprob: float, count: int, tokens: Tokens, *sizes: int) -> Reply:
    """Several drafts of one answer, each of so many words, and one bill for all of them."""
    assert len(sizes) == count
    made = []
    for index, size in enumerate(sizes):
        said = words(size)
        message = {"role": "assistant", "content": "".join(said), "refusal": None}
        entries = {"content": [entry(text, logprob) for text in said]}
        made.append(
            {"index": index, "message": message, "logprobs": entries, "finish_reason": "stop"}
        )
    return Reply(body=completion(None, choices=made, usage=tokens.told()))


def broken(*steps: Step) -> Reply:
    """An answer that breaks off; ``steps`` are what a stream has said by then."""
    return Reply(is_broken_off=True, steps=[ROLE, *steps, BreakOff()])


@dataclass(frozen=True)
class Sent:
    """What a model sent of an answer: ``told`` is the usage that it told last.

    ``entries`` are its log-probabilities, ``characters`` those of its text, and ``untold`` those of
    text without log-probabilities.  ``is_counted``: it told a usage before the end.
    """

    told: Tokens | None = None
    entries: int = 0
    characters: int = 0
    untold: int = 0
    is_counted: bool = False


def read_sent(body: bytes) -> Sent:
    """Read the bytes that a model sent."""
    told, entries, characters, untold, usages = None, 0, 0, 0, 0
    for document in _documents(body):
        if usage := document.get("usage"):
            told = Tokens.read(usage)
            usages += 1
        for choice in document.get("choices") or ():
            text = (choice.get("message") or choice.get("delta") or {}).get("content") or ""
            count = len((choice.get("logprobs") or {}).get("content") or ())
            entries += count
            characters += len(text)
            untold += 0 if count else len(text)
    return Sent(told, entries, characters, untold, usages > 1)


def _documents(body: bytes) -> list[dict[str, Any]]:
    if not body.startswith(b"data: "):
        try:
            return [json.loads(body)]
        except ValueError:
            return []
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(event) for event in events if event != b"[DONE]"]
