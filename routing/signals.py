"""Token log-probabilities to named signals.

Every signal lies in [0, 1] and grows with certainty, so that a rule over several of them can be
read by a person.  A signal that the server's reply does not support is absent, never 0.

Minimum and low quantiles of token log-probabilities, and not their mean alone: Gupta et al. 2024,
"Language Model Cascades: Token-level uncertainty and beyond" (arXiv:2404.10136), section 4.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import sub

from routing.vocabulary import Draft

LOW_QUANTILE = 0.1
# A log-softmax computed in bfloat16 over logits of up to 32 is off by less than this.
MAX_ROUNDING = 0.1

Signals = Mapping[str, float]


def mean_probability(logprobs: Sequence[float]) -> float:
    """Geometric mean of the token probabilities, in [0, 1]; ``logprobs`` has shape (n,), n >= 1."""
    try:
        return math.exp(math.fsum(logprobs) / len(logprobs))
    except OverflowError:  # the sum lies below what floats reach, and so its exponential is 0
        return 0.0


def min_probability(logprobs: Sequence[float]) -> float:
    """Probability of the least likely token, in [0, 1]; ``logprobs`` has shape (n,), n >= 1."""
    return math.exp(min(logprobs))


def low_probability(logprobs: Sequence[float]) -> float:
    """The 10% quantile of the token probabilities, in [0, 1]; shape (n,), n >= 1.

    The nearest rank from above: one wild token in ten does not move it, two do.
    """
    rank = math.ceil(LOW_QUANTILE * (len(logprobs) - 1))
    return math.exp(sorted(logprobs)[rank])


def min_margin(draft: Draft) -> float | None:
    """Least lead of a chosen token over its best rival, in probability; below 0 counts as 0.

    None where any place lacks two candidates, because the weakest place could be that one.
    """
    if len(draft.top_logprobs) != len(draft.token_logprobs):
        return None
    if min(map(len, draft.top_logprobs), default=2) < 2:
        return None
    rivals = [
        candidates[1] if chosen >= candidates[0] else candidates[0]
        for chosen, candidates in zip(draft.token_logprobs, draft.top_logprobs, strict=True)
    ]
    leads = map(sub, _probabilities(draft.token_logprobs), _probabilities(rivals))
    weakest = min(leads, default=1.0)
    return max(weakest, 0.0)


_OVER_TOKENS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean_probability": mean_probability,
    "min_probability": min_probability,
    "low_probability": low_probability,
}
SIGNAL_NAMES = frozenset({*_OVER_TOKENS, "min_margin"})


def signals_of(draft: Draft) -> Signals:
    """All signals that the draft's evidence supports, by name; empty where there is no evidence.

    Log-probabilities a rounding error above 0 count as 0, minus infinity as probability 0.  A NaN
    anywhere means that the server's arithmetic broke, and anything further above 0 that it reports
    something else, logits for instance: then nothing it said is evidence.
    """
    said = [*draft.token_logprobs, *chain.from_iterable(draft.top_logprobs)]
    # A NaN may hide from the maximum, but not from the sum.
    if not draft.token_logprobs or max(said) > MAX_ROUNDING or math.isnan(sum(said)):
        return {}
    logprobs = _clipped(draft.token_logprobs)
    found = {name: measure(logprobs) for name, measure in _OVER_TOKENS.items()}
    margin = min_margin(draft)
    if margin is not None:
        found["min_margin"] = margin
    return found


def _clipped(logprobs: Sequence[float]) -> list[float]:
    """The same, but 0 where a rounding error put one above it."""
    return [logprob if logprob < 0.0 else 0.0 for logprob in logprobs]


def _probabilities(logprobs: Sequence[float]) -> Iterator[float]:
    return map(math.exp, _clipped(logprobs))
