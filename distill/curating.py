"""Which rows of a data set a student should learn from, and why not the others.

The holdout is never changed, and nothing of it, or near it, stays in what is trained on.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distill.causes import Cause
from distill.dataset import Example, said_in
from distill.likeness import DEFAULT_THRESHOLD, Likeness, Print, print_of
from distill.soundness import IsAsAsked, fault_of
from routing.comparators import normalised

# In this order a row is looked at, and the first that holds is why it goes.
HOLDOUT_CAUSES = (Cause.IN_HOLDOUT, Cause.NEAR_HOLDOUT)
ANSWER_CAUSES = (Cause.ANSWER_EMPTY, Cause.ANSWER_REPEATS, Cause.ANSWER_NOT_AS_ASKED)
DUPLICATE_CAUSES = (Cause.DUPLICATE_PROMPT, Cause.NEAR_DUPLICATE)


@dataclass(frozen=True, slots=True)
class Screened:
    """What is left, in the order in which it came, and how many rows went for each cause."""

    kept: Sequence[Example]
    left_out: Counter[Cause]


class Known:
    """Prompts that must not come again: exactly, or near."""

    def __init__(self, corpus: Iterable[Print], at_least: float = DEFAULT_THRESHOLD) -> None:
        """``corpus``: prompts that show which of their parts are common."""
        self._keys: set[str] = set()
        self._answers: list[str] = []
        self._likeness = Likeness.of(corpus, at_least)

    def add(self, example: Example, look: Print) -> None:
        """Know a row from now on."""
        self._keys.add(example.key)
        self._likeness.add(look)
        self._answers.append(normalised(said_in(example.answer)))

    def has(self, key: str) -> bool:
        """Whether this very prompt is known."""
        return key in self._keys

    def has_near(self, look: Print) -> bool:
        """Whether a prompt near this one is known, whatever its answer."""
        return bool(self._likeness.near(look))

    def has_near_with(self, look: Print, answer: str) -> bool:
        """Whether one near it with the same answer is known.

        Another answer makes of a small difference a telling one: the same text, to be translated
        into another language.
        """
        said = normalised(answer)
        return any(self._answers[place] == said for place in self._likeness.near(look))


def screen(
    train: Sequence[Example],
    holdout: Iterable[Example],
    at_least: float,
    is_as_asked: IsAsAsked,
) -> Screened:
    """Leave out what the holdout has, what is no lesson, and what is there twice.

    ``holdout`` are the held-out rows of all formats; ``at_least`` is how alike near prompts are.
    Of rows that are alike the last one stays, which is the newest.
    """
    looks = [print_of(example.prompt) for example in train]
    held, seen = Known(looks, at_least), Known(looks, at_least)
    for example in holdout:
        held.add(example, print_of(example.prompt))
    kept: list[Example] = []
    left_out: Counter[Cause] = Counter()
    for example, look in zip(reversed(train), reversed(looks), strict=True):
        cause = (
            _in_holdout(example, look, held)
            or fault_of(example, is_as_asked)
            or _duplicate(example, look, seen)
        )
        if cause is not None:
            left_out[cause] += 1
            continue
        seen.add(example, look)
        kept.append(example)
    return Screened(kept[::-1], left_out)


def _in_holdout(example: Example, look: Print, held: Known) -> Cause | None:
    if held.has(example.key):
        return Cause.IN_HOLDOUT
    return Cause.NEAR_HOLDOUT if held.has_near(look) else None


def _duplicate(example: Example, look: Print, seen: Known) -> Cause | None:
    if seen.has(example.key):
        return Cause.DUPLICATE_PROMPT
    answer = said_in(example.answer)
    return Cause.NEAR_DUPLICATE if seen.has_near_with(look, answer) else None


def balance(
    examples: Sequence[Example], labels: Sequence[int], most: int | None, seed: int
) -> Screened:
    """At most so many rows of each cluster, drawn without regard to time or length.

    ``labels`` has a cluster for each row.  Synthetic rows count like any other.
    """
    left_out: Counter[Cause] = Counter()
    if most is None:
        return Screened(list(examples), left_out)
    members: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        members.setdefault(label, []).append(place)
    chosen: set[int] = set()
    for places in members.values():
        drawn = sorted(places, key=lambda place: drawing_order(examples[place], seed))
        chosen.update(drawn[:most])
    kept = [example for place, example in enumerate(examples) if place in chosen]
    if len(kept) < len(examples):
        left_out[Cause.OVER_CLUSTER_CAP] = len(examples) - len(kept)
    return Screened(kept, left_out)


def drawing_order(example: Example, seed: int) -> bytes:
    """An order of rows that is as good as random, and the same in every run of a seed."""
    return hashlib.sha256(f"{seed}:{example.key}:{example.id}".encode()).digest()
