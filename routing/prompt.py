"""What a prompt alone tells, before anybody has answered it.

At most the first and the last 4,096 characters of a conversation are read, whatever its length, so
that the price of looking is bounded.  Nothing here knows what follows from it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from zlib import crc32

from routing.errors import PolicyError

EDGE_CHARACTERS = 4096
MAX_GROUP_CHARACTERS = 64

SURFACE_NAMES = (
    "log_characters", "log_words", "word_length", "digits", "capitals", "punctuation",
    "beyond_ascii", "log_lines", "log_questions",
)  # fmt: skip

_GROUP = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_GROUP_CHARACTERS}}}")
# Scripts without blanks between words: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_DIGITS = "0123456789"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as far as it is read before it is answered.

    ``text`` has at most 2 * EDGE_CHARACTERS characters and one more where something is left out
    between them; ``group`` is the kind of task that the request names, None where it names none.
    """

    text: str = ""
    group: str | None = None


def is_group(name: str) -> bool:
    """Whether this can be a group's name: 1 to 64 of ``A-Z a-z 0-9 _ . : -``."""
    return _GROUP.fullmatch(name) is not None


def prompt_of(messages: object, group: str | None = None) -> Prompt:
    """The prompt of a conversation: OpenAI's ``messages``, parsed, or a text that a user wrote.

    Roles stand before what they said.  Of contents in parts only the texts are read; what is no
    message says nothing.
    """
    if isinstance(messages, str):
        messages = ({"role": "user", "content": messages},)
    if not isinstance(messages, Sequence):
        messages = ()
    head = _gathered(messages, is_backwards=False)
    if len(head) <= EDGE_CHARACTERS:
        return Prompt(head, group)
    tail = _gathered(messages, is_backwards=True)
    whole = _gathered(messages, is_backwards=False, most=2 * EDGE_CHARACTERS)
    if len(whole) <= 2 * EDGE_CHARACTERS:
        return Prompt(whole, group)
    return Prompt(f"{head[:EDGE_CHARACTERS]}\n{tail[-EDGE_CHARACTERS:]}", group)


def _gathered(
    messages: Sequence[object], *, is_backwards: bool, most: int = EDGE_CHARACTERS
) -> str:
    """Messages from one end on, until they are longer than ``most`` characters, or all of them."""
    lines: list[str] = []
    length = -1  # no line break before the first
    for message in reversed(messages) if is_backwards else messages:
        if length > most:
            break
        lines.append(_line(message, most))
        length += len(lines[-1]) + 1
    return "\n".join(reversed(lines) if is_backwards else lines)


def _line(message: object, most: int) -> str:
    """``role: what it said``; of a long text its two ends, each longer than will be read of it."""
    if not isinstance(message, Mapping):
        return ""
    said = "\n".join(_texts(message.get("content")))
    if len(said) > 2 * most:
        said = f"{said[: most + 1]}{said[-most - 1 :]}"
    return f"{message.get('role')}: {said}"


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        for part in content:
            text = part.get("text") if isinstance(part, Mapping) else None
            if isinstance(text, str):
                yield text


def hashed_terms(text: str, buckets: int) -> Mapping[int, int]:
    """How often each word, and each pair of neighbours, occurs, by the bucket that its hash names.

    Words are runs of letters and digits in lower case; in scripts without blanks each character is
    one.  The hash is CRC-32 of their UTF-8, so that it is the same everywhere, for ever.
    """
    words = [word.encode("utf-8", "replace") for word in _WORD.findall(text.lower())]
    terms = [crc32(word) % buckets for word in words]
    terms += [crc32(b"%b %b" % pair) % buckets for pair in pairwise(words)]
    return Counter(terms)


def prompt_features(prompt: Prompt) -> tuple[float, ...]:
    """What can be counted in the text, in the order of SURFACE_NAMES, each a finite number.

    Logarithms are of one more than the count; word length is what is no blank, for each word;
    shares are of characters; ``beyond_ascii`` is how many bytes more than one a character takes.
    """
    text = prompt.text
    characters = len(text) or 1
    words = len(text.split())
    return (
        math.log1p(len(text)),
        math.log1p(words),
        (len(text) - text.count(" ")) / (words or 1),
        sum(map(text.count, _DIGITS)) / characters,
        sum(map(text.count, _CAPITALS)) / characters,
        sum(map(text.count, _PUNCTUATION)) / characters,
        len(text.encode("utf-8", "replace")) / characters - (1.0 if text else 0.0),
        math.log1p(text.count("\n")),
        math.log1p(text.count("?")),
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """What words say: for some of ``buckets`` an inverse document frequency and a weight.

    ``places``, ``idf`` and ``weights`` have the same shape (n,).  The terms of a text, its known
    ones alone and each once however often it occurs, make a vector of ``idf`` of length 1, and the
    weights its value.
    """

    buckets: int
    places: tuple[int, ...] = ()
    idf: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    _known: Mapping[int, tuple[float, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs = zip(self.idf, self.weights, strict=True)
        object.__setattr__(self, "_known", dict(zip(self.places, pairs, strict=True)))

    def of(self, text: str) -> float:
        """The value, 0 where no term is known."""
        total, squares = [], []
        for place in hashed_terms(text, self.buckets):
            if (known := self._known.get(place)) is not None:
                idf, weight = known
                total.append(idf * weight)
                squares.append(idf * idf)
        length = math.sqrt(math.fsum(squares))
        return math.fsum(total) / length if length else 0.0


@dataclass(frozen=True, slots=True)
class Surface:
    """What ``prompt_features`` say: ``weights * (features - means) / scales``, shapes (9,)."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if {len(self.means), len(self.scales), len(self.weights)} != {len(SURFACE_NAMES)}:
            raise PolicyError(f"means, scales and weights need {len(SURFACE_NAMES)} numbers each")
        if not all(scale > 0.0 for scale in self.scales):
            raise PolicyError("scales must be above 0")

    def of(self, prompt: Prompt) -> float:
        """The sum."""
        said = zip(prompt_features(prompt), self.means, self.scales, self.weights, strict=True)
        return math.fsum([weight * (value - mean) / scale for value, mean, scale, weight in said])


@dataclass(frozen=True, slots=True)
class PromptModel:
    """A number from the prompt alone: terms, surface and group add up.

    A group that has no weight adds nothing, and so does none.
    """

    terms: Terms
    surface: Surface | None = None
    groups: Mapping[str, float] = field(default_factory=dict)
    intercept: float = 0.0

    def of(self, prompt: Prompt) -> float:
        """The sum, a finite number unless its parts are larger than floats reach."""
        group = 0.0 if prompt.group is None else self.groups.get(prompt.group, 0.0)
        surface = 0.0 if self.surface is None else self.surface.of(prompt)
        return self.terms.of(prompt.text) + surface + group + self.intercept
