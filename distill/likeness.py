"""Which prompts are the same but for a few letters, exactly and without comparing all with all.

Two prompts are near where the shingles of their last messages, runs of SHINGLE characters, and
those of what was said before, have a Jaccard similarity of at least the threshold each, and the
last messages have the same numbers: with another number in it a question is another one.

Found by prefix filtering (Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search",
section 4; Xiao et al. 2008, "Efficient similarity joins for near duplicate detection"): in any
fixed order of shingles, two sets with J >= t share one of the first |x| - ceil(t |x|) + 1.  The
order here is rarest first, so that the first ones are in few other prompts.  No near prompt is
missed, which sketches such as MinHash cannot say.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import numpy.typing as npt

from distill.dataset import Message, said_in
from distill.prompts import normalised_words
from routing.comparators.replies import shortened

SHINGLE = 5
# Of longer messages the head and the tail are compared.
MOST_CHARACTERS = 16_384
# Below this a prefix is half of all shingles, and everything a candidate of everything.
LEAST_THRESHOLD = 0.5
DEFAULT_THRESHOLD = 0.9
_BUCKETS = 2**20
_NUMBER = re.compile(r"\d+")

Shingles = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """What is compared of a prompt: shingles, each once and in order, and its numbers."""

    last: Shingles
    earlier: Shingles
    numbers: tuple[str, ...]


def print_of(messages: Sequence[Message]) -> Print:
    """What is compared of a prompt; roles of earlier messages count as words."""
    last = normalised_words(shortened(said_in(messages[-1]), MOST_CHARACTERS))
    before = [f"{each.get('role')}: {said_in(each)}" for each in messages[:-1]]
    earlier = normalised_words(shortened("\n".join(before), MOST_CHARACTERS))
    return Print(_shingles(last), _shingles(earlier), tuple(_NUMBER.findall(last)))


def similarity(left: Shingles, right: Shingles) -> float:
    """Jaccard's, in [0, 1]; 1 for two empty ones."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - common
    return common / union if union else 1.0


@dataclass(slots=True)
class Likeness:
    """Prompts that were added, and whether another one is near one of them.

    ``corpus`` says which shingles are rare; any will do, the likelier the faster.
    """

    at_least: float
    _counts: npt.NDArray[np.int64]
    _kept: list[Print] = field(default_factory=list)
    _places: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, corpus: Iterable[Print], at_least: float = DEFAULT_THRESHOLD) -> "Likeness":
        """None added yet.  Raises ValueError for a threshold outside [LEAST_THRESHOLD, 1]."""
        if not LEAST_THRESHOLD <= at_least <= 1.0:
            raise ValueError(f"must lie in [{LEAST_THRESHOLD}, 1], got {at_least!r}")
        counts = np.zeros(_BUCKETS, dtype=np.int64)
        for each in corpus:
            np.add.at(counts, each.last % _BUCKETS, 1)
        return cls(at_least, counts)

    def add(self, new: Print) -> int:
        """Remember a prompt; the place that ``near`` tells it by."""
        place = len(self._kept)
        self._kept.append(new)
        for shingle in self._prefix(new):
            self._places.setdefault(shingle, []).append(place)
        return place

    def near(self, new: Print) -> list[int]:
        """The places of all near ones, in the order in which they were added."""
        found = {place for each in self._prefix(new) for place in self._places.get(each, ())}
        return [place for place in sorted(found) if self.is_near(new, self._kept[place])]

    def is_near(self, left: Print, right: Print) -> bool:
        """Whether two prompts are near."""
        sizes = sorted((len(left.last), len(right.last)))
        return (
            left.numbers == right.numbers
            and sizes[0] >= self.at_least * sizes[1]
            and similarity(left.last, right.last) >= self.at_least
            and similarity(left.earlier, right.earlier) >= self.at_least
        )

    def _prefix(self, new: Print) -> list[int]:
        """The rarest shingles, so many that a near prompt must share one of them."""
        if not len(new.last):
            return [-1]  # what says nothing is near what says nothing
        size = len(new.last)
        # A hair less than the product, which floats may put a little above a whole number.
        length = size - math.ceil(self.at_least * size - 1e-9) + 1
        order = np.lexsort((new.last, self._counts[new.last % _BUCKETS]))
        return [int(each) for each in new.last[order[:length]]]


def _shingles(text: str) -> Shingles:
    if not text:
        return np.empty(0, dtype=np.uint32)
    runs = {text[start : start + SHINGLE] for start in range(max(1, len(text) - SHINGLE + 1))}
    hashed = {crc32(run.encode("utf-8", "replace")) for run in runs}
    return np.array(sorted(hashed), dtype=np.uint32)
