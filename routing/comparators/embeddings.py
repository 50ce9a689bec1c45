"""How near two answers are in the space of an embedding model: for longer answers in free words.

Near is not the same: two dates, two amounts or a yes and a no can lie closer together than two
wordings of one answer.  The least similarity has to be chosen on pairs that somebody has judged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from routing.comparators.asking import (
    SAME,
    Ask,
    Asked,
    NoScore,
    Question,
    Request,
    Score,
)
from routing.comparators.replies import at, document_of, finite, shortened
from routing.comparators.texts import normalised

# Most embedding models read some 512 tokens, and drop or refuse what is beyond.
MOST_CHARACTERS = 8000


@dataclass(frozen=True, slots=True)
class _Similarity:
    model: str
    at_least: float

    @property
    def version(self) -> str:
        return f"embedding-1({self.model})"

    def begin(self, _question: Question, left: str, right: str) -> Score | Ask:
        if normalised(left) == normalised(right):
            return Score(SAME)
        # In one order, so that no padding or rounding makes the order of two answers matter.
        texts = [shortened(text, MOST_CHARACTERS) or " " for text in sorted((left, right))]
        fields = {"model": self.model, "input": texts, "encoding_format": "float"}
        return Ask((Request(Asked.EMBEDDER, fields),))

    def finish(self, replies: Sequence[bytes]) -> Score | NoScore:
        if len(replies) != 1:
            return NoScore(f"one reply was expected, not {len(replies)}")
        left, right = (_vector(document_of(replies[0]), place) for place in (0, 1))
        if left is None or right is None or len(left) != len(right):
            return NoScore("the reply holds no two embeddings of one length")
        cosine = _cosine(left, right)
        if cosine is None:
            return NoScore("an embedding has no direction")
        return Score(min(max(cosine, 0.0), 1.0))


def similar_embedding(model: str, at_least: float) -> _Similarity:
    """The cosine between the embeddings of two answers, 0 where it is negative.

    ``model`` is its name at ``/v1/embeddings``.  Texts that are the same once normalised are never
    sent; of longer ones than MOST_CHARACTERS the middle is not.
    """
    return _Similarity(model, at_least)


def _vector(document: object, index: int) -> list[float] | None:
    data = at(document, "data")
    for entry in data if isinstance(data, list) else ():
        values = at(entry, "embedding")
        if at(entry, "index") == index and isinstance(values, list) and values:
            numbers = [finite(value) for value in values]
            known = [number for number in numbers if number is not None]
            return known if len(known) == len(numbers) else None
    return None


def _cosine(left: list[float], right: list[float]) -> float | None:
    lengths = math.hypot(*left), math.hypot(*right)
    if not all(0.0 < length < math.inf for length in lengths):
        return None
    # Scaled first: products of large numbers overflow, those of small ones vanish.
    return math.fsum(
        (one / lengths[0]) * (other / lengths[1]) for one, other in zip(left, right, strict=True)
    )
