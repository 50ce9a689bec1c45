"""One pair as one row of a training set: TRL's conversational forms and OpenAI's files.

TRL 1.16 reads ``prompt`` with ``completion`` (SFT) or with ``chosen`` and ``rejected`` (DPO);
``tools`` may be a JSON text there, so that a column has one type; ``response_format``, which no
trainer reads, is one too, for whoever asks whether an answer has the form that was wanted.  A
call's arguments are an object there, which is what chat templates render, and what vLLM gives them.
OpenAI's files have arguments as text, train on every assistant's message without ``weight: 0``, and
know no other keys.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from distill.causes import Cause, LeftOut
from distill.conversation import Message, Prompt, answer_of, prompt_of, text_of
from routing.comparators import Comparator, Question, Score

# What OpenAI's API takes for the name of a function.
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Format(StrEnum):
    """The forms in which pairs leave."""

    PARQUET = "parquet"
    SFT = "sft"
    DPO = "dpo"
    OPENAI = "openai"
    OPENAI_DPO = "openai-dpo"

    @property
    def is_training_set(self) -> bool:
        """Whether a model learns from it, so that it needs consent; Parquet is an archive."""
        return self is not Format.PARQUET


@dataclass(frozen=True, slots=True)
class Manner:
    """How rows are written.

    ``comparator`` says when a draft differs from the answer; it must ask nobody.
    ``has_reasoning``: the teacher's reasoning is part of the target.
    """

    comparator: Comparator
    has_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a file; ``shape`` tells lines apart that have other keys, see ``shape_of``."""

    line: bytes
    shape: str
    prompt_characters: int
    target_characters: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a row is made of: a pair's payloads, and what says whether they can be learnt from."""

    id: str
    request: bytes
    answer: bytes
    draft: bytes | None
    is_draft_complete: bool
    is_spliced: bool


def row_of(lesson: Lesson, form: Format, manner: Manner) -> Row:
    """The row of a pair that may be learnt from.  Raises LeftOut."""
    if lesson.is_spliced:
        raise LeftOut(Cause.SPLICED)
    prompt, answer = prompt_of(lesson.request), answer_of(lesson.answer)
    document = _WRITERS[form](_Read(lesson, prompt, answer, manner))
    shape = hashlib.blake2b(shape_of(document).encode(), digest_size=8)
    return Row(
        line=msgspec.json.encode(document),
        shape=shape.hexdigest(),
        prompt_characters=sum(len(message.content or "") for message in prompt.messages),
        target_characters=len(text_of(answer)),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    lesson: Lesson
    prompt: Prompt
    answer: Message
    manner: Manner

    def rejected(self) -> Message:
        """The draft, where it is whole and differs materially.  Raises LeftOut."""
        if self.lesson.draft is None:
            raise LeftOut(Cause.NO_DRAFT)
        if not self.lesson.is_draft_complete:
            raise LeftOut(Cause.DRAFT_INCOMPLETE)
        try:
            draft = answer_of(self.lesson.draft)
        except LeftOut as unusable:
            cut = unusable.cause is Cause.ANSWER_CUT_SHORT
            raise LeftOut(Cause.DRAFT_INCOMPLETE if cut else Cause.DRAFT_UNUSABLE) from None
        if is_same(self.manner.comparator, self.prompt.question, draft, self.answer):
            raise LeftOut(Cause.DRAFT_AGREES)
        return draft


def is_same(comparator: Comparator, question: str, draft: Message, answer: Message) -> bool:
    """Whether two answers say the same.  Raises ValueError where somebody must be asked."""
    left, right = text_of(draft), text_of(answer)
    score = comparator.begin(Question(question), left, right)
    if not isinstance(score, Score):
        raise ValueError(f"{comparator.version} has to ask before it can compare answers")
    return score.is_same(comparator.at_least)


def _sft(read: _Read) -> dict[str, Any]:
    return {**_trl(read), "completion": [_trl_answer(read.answer, read.manner)]}


def _dpo(read: _Read) -> dict[str, Any]:
    return {
        **_trl(read),
        "chosen": [_trl_answer(read.answer, read.manner)],
        "rejected": [_trl_answer(read.rejected(), read.manner)],
    }


def _openai(read: _Read) -> dict[str, Any]:
    earlier = [_openai_message(each) for each in read.prompt.messages]
    for message in earlier:
        if message["role"] == "assistant":
            message["weight"] = 0
    return {
        "messages": [*earlier, _openai_message(read.answer)],
        **_openai_tools(read.prompt),
    }


def _openai_dpo(read: _Read) -> dict[str, Any]:
    messages = [_openai_message(each) for each in read.prompt.messages]
    return {
        "input": {"messages": messages, **_openai_tools(read.prompt)},
        "preferred_output": [_openai_message(read.answer)],
        "non_preferred_output": [_openai_message(read.rejected())],
    }


_WRITERS: Mapping[Format, Callable[[_Read], dict[str, Any]]] = {
    Format.SFT: _sft,
    Format.DPO: _dpo,
    Format.OPENAI: _openai,
    Format.OPENAI_DPO: _openai_dpo,
}


def _trl(read: _Read) -> dict[str, Any]:
    prompt = read.prompt
    told: dict[str, Any] = {
        "id": read.lesson.id,
        "prompt": [trl_message(each) for each in prompt.messages],
    }
    if prompt.tools:
        told["tools"] = msgspec.json.encode(prompt.tools).decode()
    if prompt.response_format is not None:
        told["response_format"] = msgspec.json.encode(prompt.response_format).decode()
    return told


def _trl_answer(message: Message, manner: Manner) -> dict[str, Any]:
    told = trl_message(message)
    if manner.has_reasoning and message.reasoning:
        told["reasoning_content"] = message.reasoning
    return told


def trl_message(message: Message) -> dict[str, Any]:
    """A message as TRL's files have it."""
    told: dict[str, Any] = {"role": _system(message.role), "content": message.content or ""}
    if message.name:
        told["name"] = message.name
    if message.call_id:
        told["tool_call_id"] = message.call_id
    if message.calls:
        told["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.decode(call.arguments),
                },
            }
            for call in message.calls
        ]
    return told


def _openai_message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": _system(message.role)}
    if message.content is not None:
        told["content"] = message.content
    elif not message.calls:
        told["content"] = ""
    if message.name and message.role != "tool":
        told["name"] = message.name
    if message.role == "tool":
        if message.call_id is None:
            raise LeftOut(Cause.UNREADABLE)
        told["tool_call_id"] = message.call_id
    if message.calls:
        if not all(call.id for call in message.calls):
            raise LeftOut(Cause.UNREADABLE)
        told["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _name(call.name), "arguments": call.arguments},
            }
            for call in message.calls
        ]
    return told


def _openai_tools(prompt: Prompt) -> dict[str, Any]:
    if not prompt.tools:
        return {}
    for tool in prompt.tools:
        _name(tool["function"].get("name"))
    parallel = {} if prompt.is_parallel is None else {"parallel_tool_calls": prompt.is_parallel}
    return {"tools": prompt.tools, **parallel}


def _name(name: object) -> str:
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise LeftOut(Cause.NAME_NOT_ALLOWED)
    return name


def _system(role: str) -> str:
    """``developer`` is OpenAI's newer word; chat templates and its files know the old one."""
    return "system" if role == "developer" else role


def shape_of(value: object) -> str:
    """The keys and types of a row, whatever its texts: rows of one shape make one Arrow type.

    Whoever reads a file in pieces takes its types from the first piece; where that shows every
    shape, the rest of the file fits.
    """
    match value:
        case dict():
            inside = ",".join(f"{key}:{shape_of(each)}" for key, each in sorted(value.items()))
            return f"{{{inside}}}"
        case list() | tuple():
            return f"[{'|'.join(sorted({shape_of(each) for each in value}))}]"
        case None:
            return "0"
        case bool():
            return "b"
        case int():
            return "i"
        case float():
            return "f"
        case _:
            return "s"
