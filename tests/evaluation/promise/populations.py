"""The traffic that the promise is held to, each made once."""

from collections.abc import Callable
from functools import cache, partial

from bench.public_sets import OPTION_PAIRS, option_logits
from evaluation.promise.traffic import Traffic, bumped, options_pair, plateau, ranked
from tests.evaluation.public_data import FOLDER, data

MAKERS: dict[str, Callable[[], Traffic]] = {
    "syn30/.80": partial(ranked, 0.3, 0.8),
    "syn30/.85": partial(ranked, 0.3, 0.85),
    "syn30/.90": partial(ranked, 0.3, 0.9),
    "syn20/.80": partial(ranked, 0.2, 0.8),
    "syn20/.90": partial(ranked, 0.2, 0.9),
    "syn40/.90": partial(ranked, 0.4, 0.9),
    "bump": partial(bumped, 0.3, 0.85),
    "plateau": partial(plateau, 0.05),
    "poor": partial(ranked, 0.8, 0.6),
}
SYNTHETIC = tuple(name for name in MAKERS if name not in ("plateau", "poor"))
REAL = tuple(OPTION_PAIRS)


@cache
def traffic(name: str) -> Traffic:
    """By its name; skips the test where it takes data that are not here."""
    if name not in OPTION_PAIRS:
        return MAKERS[name]()
    data(OPTION_PAIRS[name][0])
    return options_pair(*option_logits(FOLDER, name))
