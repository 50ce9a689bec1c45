"""The rows of a data set, read back: what was asked, what the teacher said, what the draft said.

A row is a line of ``sft-*.jsonl`` or ``dpo-*.jsonl``.  Its line is kept as it came: who chooses
among rows writes them back byte for byte.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.prompts import prompt_hash
from distill.rows import Format, shape_of

# `datasets` takes the types of a file from its first 10 MiB; see docs/pairs.md.
LEADING_BYTES = 8 * 2**20
TRAIN, HOLDOUT = "train", "holdout"
# The formats whose rows can be read back; the others are for other trainers.
READABLE_FORMATS = (Format.SFT, Format.DPO)

Message = Mapping[str, Any]


class DataError(ValueError):
    """What is no data set, or none that can be used; the message says what to mend."""


class _Line(msgspec.Struct):
    id: str
    prompt: list[dict[str, Any]]
    completion: list[dict[str, Any]] | None = None
    chosen: list[dict[str, Any]] | None = None
    rejected: list[dict[str, Any]] | None = None
    tools: str | None = None
    response_format: str | None = None
    synthetic: bool = False
    cluster: int | None = None


_line = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class Example:
    """One row.  ``answer`` is the teacher's message, ``rejected`` the draft's, of DPO rows alone.

    ``tools`` and ``response_format`` are JSON texts, None where the request had none.  ``key``
    tells prompts apart.  ``cluster`` is that for which a synthetic row was written.
    """

    id: str
    line: bytes
    prompt: tuple[Message, ...]
    answer: Message
    rejected: Message | None
    tools: str | None
    response_format: str | None
    is_synthetic: bool
    key: str
    cluster: int | None = None

    @property
    def question(self) -> str:
        """What the last message says."""
        return said_in(self.prompt[-1])

    @property
    def earlier(self) -> tuple[Message, ...]:
        """What was said before the last message."""
        return self.prompt[:-1]


def said_in(message: Message) -> str:
    """A message's words, or its calls as JSON where it has no words."""
    content = message.get("content")
    if isinstance(content, str) and content:
        return content
    calls = message.get("tool_calls")
    if not calls:
        return ""
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    return msgspec.json.encode(functions, order="sorted").decode()


def read_examples(lines: Iterable[bytes], name: str) -> Iterator[Example]:
    """The rows of a file.  Raises DataError, which names file, line and what is wrong there."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            read = _line.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{where}: is no row of a data set: {error}") from None
        yield _example(read, line.strip(), where)


def _example(read: _Line, line: bytes, where: str) -> Example:
    answers = read.completion if read.completion is not None else read.chosen
    if not read.prompt or not answers:
        raise DataError(f"{where}: needs a prompt, and a completion or what was chosen")
    key = prompt_hash(msgspec.json.encode({"messages": read.prompt}))
    if key is None:
        raise DataError(f"{where}: has no messages that can be told apart")
    return Example(
        id=read.id,
        line=line,
        prompt=tuple(read.prompt),
        answer=answers[-1],
        rejected=read.rejected[-1] if read.rejected else None,
        tools=read.tools,
        response_format=read.response_format,
        is_synthetic=read.synthetic,
        key=key,
        cluster=read.cluster,
    )


def in_reading_order(examples: Sequence[Example]) -> list[Example]:
    """The shortest of each shape first, as many as fit, then the others as they came.

    Whoever reads the file in pieces takes its types from the first one.
    """
    shortest: dict[str, int] = {}
    for place, example in enumerate(examples):
        shape = shape_of(msgspec.json.decode(example.line))
        best = shortest.get(shape)
        if best is None or len(example.line) < len(examples[best].line):
            shortest[shape] = place
    leading, until = [], 0
    for place in sorted(shortest.values(), key=lambda each: (len(examples[each].line), each)):
        until += len(examples[place].line)
        if until <= LEADING_BYTES:
            leading.append(place)
    first = set(leading)
    rest = [example for place, example in enumerate(examples) if place not in first]
    return [*(examples[place] for place in leading), *rest]
