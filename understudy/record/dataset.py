"""A data set's lines to items that can be asked: JSON lines, plain or gzipped.

One line is one question: a ``request``, ``messages``, or words alone (``prompt``, ``question`` or
``text``), with ``choices`` where it has options, and ``answer`` where somebody knows it.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import msgspec

from gateway.errors import RequestError
from gateway.wire.chat import Chat, parse_chat
from routing.comparators import Question, normalised

MAX_LINE_BYTES = 4 * 2**20
MAX_TOKENS = 256
MAX_TOKENS_OF_A_CHOICE = 16
ASK_FOR_A_LETTER = "Answer with the letter of the right option alone."

_GZIP = b"\x1f\x8b"
_WORDS = ("prompt", "question", "text")
_FORMS = ("request", "messages", *_WORDS)


class DatasetError(Exception):
    """A data set that cannot be asked.  The message names file and line."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How questions are asked that are no whole request themselves.

    ``instruction`` goes before the words.  ``max_tokens`` is None for a default: fewer where a
    letter is enough.
    """

    instruction: str = ""
    temperature: float = 0.0
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    ``chat`` is the request as a client would have sent it, ``question`` what comparators see of it.
    ``gold`` holds the right answers, none where nobody knows; ``digest`` stands for all of that.
    """

    id: str
    group: str | None
    prompt: str | None
    chat: Chat
    question: Question
    gold: tuple[str, ...]
    digest: str


class _Line(msgspec.Struct):
    id: str | int | None = None
    prompt: str | None = None
    question: str | None = None
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    request: dict[str, Any] | None = None
    answer: str | int | float | bool | list[str | int | float | bool] | None = None
    group: str | None = None
    choices: list[str] | None = None


_decoder = msgspec.json.Decoder(_Line)


def read_dataset(path: Path, model: str, manner: Manner, limit: int | None = None) -> list[Item]:
    """The first ``limit`` items of a file, to be asked under that model name.

    Raises DatasetError.
    """
    items: dict[str, tuple[int, Item]] = {}
    for number, raw in islice(_numbered_lines(path), limit):
        try:
            item = _item(_decoder.decode(raw), number, model, manner)
        except (msgspec.DecodeError, RequestError, ValueError, RecursionError) as error:
            raise DatasetError(f"{path}, line {number}: {error}") from None
        if item.id in items:
            raise DatasetError(
                f"{path}, line {number}: the id {item.id!r} stands in line {items[item.id][0]} too"
            )
        items[item.id] = number, item
    if not items:
        raise DatasetError(f"{path}: holds no question")
    return [item for _, item in items.values()]


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if is_gzip else raw as file:
                number = 0
                while line := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if len(line) > MAX_LINE_BYTES:
                        message = f"is longer than {MAX_LINE_BYTES} bytes"
                        raise DatasetError(f"{path}, line {number}: {message}")
                    if line.strip():
                        yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def _item(line: _Line, number: int, model: str, manner: Manner) -> Item:
    given = [form for form in _FORMS if getattr(line, form) is not None]
    if len(given) != 1:
        has = " and ".join(given) or "none"
        raise ValueError(f"needs one of {', '.join(_FORMS)}; it has {has}")
    choices = tuple(line.choices or ())
    if len(choices) > len(ascii_uppercase):
        raise ValueError(f"has {len(choices)} choices, which are more than there are letters")
    words = next((getattr(line, form) for form in _WORDS if form in given), None)
    fields = _fields(line, words, manner)
    chat = parse_chat(msgspec.json.encode({**fields, "model": model}))
    if chat.choices > 1:
        raise ValueError("wants several answers: ask for one, n: 1")
    gold = _gold(line.answer, choices)
    asked = json.dumps([fields, gold, choices, line.group], sort_keys=True)
    return Item(
        id=str(number) if line.id is None else str(line.id),
        group=line.group,
        prompt=words,
        chat=chat,
        question=Question(_last_words(fields["messages"]) if words is None else words, choices),
        gold=gold,
        digest=hashlib.sha256(asked.encode()).hexdigest()[:16],
    )


def _fields(line: _Line, words: str | None, manner: Manner) -> dict[str, Any]:
    """The request's fields, but for the model's name."""
    if line.request is not None:
        left_out = ("model", "stream", "stream_options")
        return {name: value for name, value in line.request.items() if name not in left_out}
    messages = line.messages
    if messages is None:
        content = _with_choices(words or "", line.choices or ())
        content = f"{manner.instruction}\n\n{content}" if manner.instruction else content
        messages = [{"role": "user", "content": content}]
    most = manner.max_tokens
    if most is None:
        most = MAX_TOKENS_OF_A_CHOICE if line.choices else MAX_TOKENS
    return {"messages": messages, "temperature": manner.temperature, "max_tokens": most}


def _with_choices(words: str, choices: Sequence[str]) -> str:
    if not choices:
        return words
    options = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, choices, strict=False)]
    return "\n".join([words, "", *options, "", ASK_FOR_A_LETTER])


def _gold(answer: Any, choices: Sequence[str]) -> tuple[str, ...]:
    """The right answers, in all forms in which they count."""
    answers = answer if isinstance(answer, list) else [] if answer is None else [answer]
    gold: list[str] = []
    for each in answers:
        if isinstance(each, bool):
            gold += ["true", "yes"] if each else ["false", "no"]
        elif choices:
            gold += _gold_choice(str(each), choices)
        else:
            gold.append(str(each))
    return tuple(gold)


def _gold_choice(answer: str, choices: Sequence[str]) -> list[str]:
    letters = ascii_uppercase[: len(choices)]
    if answer in tuple(letters):
        place = letters.index(answer)
    else:
        names = [normalised(choice) for choice in choices]
        if names.count(normalised(answer)) != 1:
            raise ValueError(f"the answer {answer!r} is neither a letter nor one of the choices")
        place = names.index(normalised(answer))
    letter, text = letters[place], choices[place]
    return [letter, text, f"{letter}. {text}", f"{letter}) {text}"]


def _last_words(messages: Any) -> str:
    """What the last message says, for a judge to read."""
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
