"""What it takes to judge a draft by a learnt policy: signals, confidence and merit, no server.

The draft has 256 tokens with two candidates each and their text; the policy two ensembles of 60
trees of depth 3, one for the confidence and one for the gain, over all signals.
"""

import math
import random
import time
from collections.abc import Callable

import msgspec

from routing import (
    LEAF,
    SIGNAL_NAMES,
    Draft,
    Logistic,
    Rule,
    Threshold,
    Tree,
    Trees,
    signals_of,
)
from routing.cascade import judge

TOKENS = 256
TREES = 60
DEPTH = 3
ROUNDS = 60
CALLS_A_ROUND = 50
_SEED = 20
_WORDS = "the answer is that gold rises when markets fall and it was so in 1987 too"


class ScoreTimes(msgspec.Struct, frozen=True):
    """Microseconds of processor time a draft: the median and the least of all rounds' means."""

    tokens: int
    trees: int
    signals_us: float
    rule_us: float
    judged_us: float
    judged_us_least: float


def time_score() -> ScoreTimes:
    """Measure it in this process."""
    dice = random.Random(_SEED)
    draft, rule = _draft(dice), _rule(dice)
    signals = signals_of(draft)
    of_signals, _ = _microseconds(lambda: signals_of(draft))
    of_rule, _ = _microseconds(lambda: rule.opinion(rule.features(signals, draft.text)))
    judged, least = _microseconds(lambda: judge(draft, rule, rule.threshold))
    return ScoreTimes(TOKENS, 2 * TREES, of_signals, of_rule, judged, least)


def _microseconds(call: Callable[[], object]) -> tuple[float, float]:
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS_A_ROUND):
            call()
        rounds.append((time.process_time() - started) / CALLS_A_ROUND * 1e6)
    rounds.sort()
    return round(rounds[len(rounds) // 2], 1), round(rounds[0], 1)


def _draft(dice: random.Random) -> Draft:
    """Greedily decoded: sure for the most part, with a doubt here and there."""
    chosen = [math.log(1.0 - 0.49 * dice.random() ** 6) for _ in range(TOKENS)]
    rivals = [math.log((1.0 - math.exp(each)) * 0.9 + 1e-9) for each in chosen]
    return Draft(
        token_logprobs=tuple(chosen),
        best_logprobs=tuple(chosen),
        second_logprobs=tuple(rivals),
        text=" ".join(dice.choices(_WORDS.split(), k=TOKENS)),
        finish_reason="stop",
        end_logprob=-0.01,
    )


def _rule(dice: random.Random) -> Rule:
    return Rule(
        score=_trees(dice),
        calibration=Logistic(1.0, 0.0),
        threshold=Threshold(0.5),
        by_group={},
        gain=_trees(dice),
    )


def _trees(dice: random.Random) -> Trees:
    names = tuple(sorted(SIGNAL_NAMES))
    return Trees(names, tuple(_tree(dice, len(names)) for _ in range(TREES)))


def _tree(dice: random.Random, features: int) -> Tree:
    """A full tree, its nodes level by level."""
    inner, leaves = 2**DEPTH - 1, 2**DEPTH
    nothing = (0.0,) * leaves
    return Tree(
        feature=(*(dice.randrange(features) for _ in range(inner)), *(0,) * leaves),
        threshold=(*(dice.random() for _ in range(inner)), *nothing),
        left=(*(2 * node + 1 for node in range(inner)), *(LEAF,) * leaves),
        right=(*(2 * node + 2 for node in range(inner)), *(LEAF,) * leaves),
        missing_left=(False,) * (inner + leaves),
        value=(*(0.0,) * inner, *(dice.uniform(-0.1, 0.1) for _ in range(leaves))),
    )
