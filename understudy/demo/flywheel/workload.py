"""The flywheel's requests: the demo's kinds of task without examples, and one nobody can teach.

Shown no examples, the student gets none of them right; it has to learn them.  A tenth are products
of two four-digit numbers, which a model of this size does not learn.  Everything is drawn from a
seed, and no question that a generation is measured or calibrated on is ever in its traffic.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from understudy.demo.families import (
    FAMILIES,
    FAMILY_NAMES,
    GIVEN_NAMES,
    PRODUCT,
    Family,
    number_in_words,
)
from understudy.demo.workload import Task, draw_task

# The demo's own lists hold 360 names, which calibration and measurement would use up a third of.
MORE_GIVEN_NAMES = (
    "Alma", "Boris", "Cora", "Dennis", "Edith", "Felix", "Gloria", "Hugo", "Irene", "Julia",
    "Kevin", "Laura", "Martin", "Nora", "Otto", "Peter", "Ruth", "Stella", "Thomas", "Vera",
)  # fmt: skip
UNLEARNABLE_EVERY = 10  # requests
# No family ends within so many requests; real traffic repeats itself too.
FORGOTTEN_AFTER = 1000  # requests


def draw_number(rng: random.Random) -> str:
    """A number from 11 to 999 in words: the demo's 589 are too few."""
    return number_in_words(rng.randint(11, 999))


def draw_name(rng: random.Random) -> str:
    """A given name and a family name."""
    return f"{rng.choice((*GIVEN_NAMES, *MORE_GIVEN_NAMES))} {rng.choice(FAMILY_NAMES)}"


_WIDER = {"number": draw_number, "name": draw_name}
LEARNABLE = tuple(
    replace(family, examples=(), draw=_WIDER.get(family.name, family.draw)) for family in FAMILIES
)
UNLEARNABLE = PRODUCT


class Workload:
    """All questions of one run; the same seed draws the same ones.

    ``held_out`` measures every generation, ``calibration`` fits its policy; neither is in
    ``traffic``, and how many there are of the one changes nothing of the other.
    """

    def __init__(self, seed: int, held_out: int, calibration: int) -> None:
        """Raises ValueError where the families do not hold that many questions."""
        self._seed = seed
        seen: set[str] = set()
        # The held-out ones come first, so that no other setting changes what is measured.
        self.held_out = list(itertools.islice(self._drawn("held-out", seen), held_out))
        self.calibration = list(itertools.islice(self._drawn("calibration", seen), calibration))
        self._reserved = frozenset(seen)

    def traffic(self, name: str) -> Iterator[Task]:
        """Requests without end, others for every ``name``; one may come again after a while."""
        for part in itertools.count():
            drawn = self._drawn(f"{name}-{part}", set(self._reserved))
            yield from itertools.islice(drawn, FORGOTTEN_AFTER)

    def _drawn(self, name: str, seen: set[str]) -> Iterator[Task]:
        rng = random.Random(f"{self._seed} {name}")
        for number, family in enumerate(mixed()):
            yield draw_task(family, rng, seen, f"{name}-{number:04d}")


def mixed() -> Iterator[Family]:
    """The families of requests in their order: every tenth is unlearnable, the others in turn."""
    learnable = itertools.cycle(LEARNABLE)
    for number in itertools.count(1):
        yield UNLEARNABLE if number % UNLEARNABLE_EVERY == 0 else next(learnable)
