"""What a draft's evidence says, as named signals.

Every signal lies in [0, 1], and 1 is the good end of it, so that a rule over several of them can be
read by a person.  A signal that the server's reply does not support is absent, never 0.

``peakedness`` is ``exp(-H)``, H being the mean entropy of the two likeliest candidates; the rest of
the mass adds nothing, so that no logarithm but the server's is needed.  ``uncut`` is the share of
places where a second candidate was left to choose from: below 1 the server reports probabilities
after top-k or top-p has cut the others out, and its exact 1 is no certainty of the model.

Minimum and low quantiles of token log-probabilities, and not their mean alone: Gupta et al. 2024,
"Language Model Cascades: Token-level uncertainty and beyond" (arXiv:2404.10136), section 4.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import mul, sub

from routing.lexicon import tone_of
from routing.vocabulary import Draft, Structure

LOW_QUANTILE = 0.1
# A log-softmax computed in bfloat16 over logits of up to 32 is off by less than this.
MAX_ROUNDING = 0.1
# No model is so sure: a candidate below this was taken out before the server looked (top-k, top-p),
# and servers write minus infinity, -9999 or the lowest float for it.
CUT_OUT = -1000.0
LEVELS = {"above_50": math.log(0.5), "above_90": math.log(0.9), "above_99": math.log(0.99)}

Signals = Mapping[str, float]

AGREEMENT = "agreement"  # the share of several drafts that say the same as this one
TOKEN_SIGNALS = frozenset(
    {"mean_probability", "min_probability", "low_probability", "q25_probability"}
    | {"median_probability", "first_probability", "length", *LEVELS}
)
CANDIDATE_SIGNALS = frozenset(
    {"min_margin", "low_margin", "mean_margin", "first_margin", "peakedness", "uncut"}
)
# Without one of these nothing is known of how sure the student was.
EVIDENCE_NAMES = TOKEN_SIGNALS - {"length"} | CANDIDATE_SIGNALS - {"uncut"} | {AGREEMENT}
SIGNAL_NAMES = (
    TOKEN_SIGNALS
    | CANDIDATE_SIGNALS
    | {"end_probability", "finished", "valid_structure", "no_hedge", "no_refusal", AGREEMENT}
)

_ENDED = frozenset({"stop", "tool_calls", "function_call"})


def signals_of(draft: Draft) -> Signals:
    """All signals that the draft's evidence supports, by name; empty where there is no evidence.

    Of each place the two most likely candidates are read, whatever else the client had asked for.
    Log-probabilities a rounding error above 0 count as 0, minus infinity as probability 0.  A NaN
    anywhere means that the server's arithmetic broke, and anything further above 0 that it reports
    something else, logits for instance: then nothing it said of tokens is evidence.
    """
    found = _of_form(draft)
    chosen = list(draft.token_logprobs)
    if not chosen:
        return found
    rows = draft.top_logprobs
    try:
        best, second = [row[0] for row in rows], [row[1] for row in rows]
    except IndexError:  # a place lacks two candidates: the weakest could be that one
        best, second = [each for row in rows for each in row[:2]], []
    has_rivals = len(chosen) == len(second)
    said = best + second if has_rivals and chosen == best else chosen + best + second
    highest = max(said)
    # A NaN anywhere makes the sum one, and infinity is above the bound unless a NaN hides it.
    if highest > MAX_ROUNDING or math.isnan(sum(said)):
        return found
    if highest > 0.0:
        chosen, best, second = _clipped(chosen), _clipped(best), _clipped(second)
    found |= _of_tokens(chosen)
    if has_rivals:
        found |= _of_candidates(chosen, best, second)
    return found


def _clipped(logprobs: Sequence[float]) -> list[float]:
    """The same, but 0 where a rounding error put one above it."""
    return [logprob if logprob < 0.0 else 0.0 for logprob in logprobs]


# --- what the chosen tokens say ---


def mean_probability(logprobs: Sequence[float]) -> float:
    """Geometric mean of the token probabilities, in [0, 1]; ``logprobs`` has shape (n,), n >= 1."""
    try:
        return math.exp(math.fsum(logprobs) / len(logprobs))
    except OverflowError:  # the sum lies below what floats reach, and so its exponential is 0
        return 0.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank from above; ``ordered`` has shape (n,), n >= 1, the least first.

    At a share of 10% one wild token in ten does not move it, two do.
    """
    return ordered[math.ceil(share * (len(ordered) - 1))]


def _of_tokens(logprobs: Sequence[float]) -> dict[str, float]:
    ordered, n = sorted(logprobs), len(logprobs)
    found = {name: 1.0 - bisect_left(ordered, level) / n for name, level in LEVELS.items()}
    found["mean_probability"] = mean_probability(logprobs)
    found["min_probability"] = math.exp(ordered[0])
    found["low_probability"] = math.exp(quantile(ordered, LOW_QUANTILE))
    found["q25_probability"] = math.exp(quantile(ordered, 0.25))
    found["median_probability"] = math.exp(quantile(ordered, 0.5))
    found["first_probability"] = math.exp(logprobs[0])
    found["length"] = 1.0 / (1.0 + math.log2(1 + n))
    return found


# --- what their rivals say ---


def _of_candidates(chosen: list[float], best: list[float], second: list[float]) -> dict[str, float]:
    """Leads of the chosen tokens over their best rivals, in probability; below 0 counts as 0."""
    n = len(chosen)
    of_best, of_second = list(map(math.exp, best)), list(map(math.exp, second))
    if chosen == best:
        leads = list(map(sub, of_best, of_second))
    else:
        leads = list(map(sub, map(math.exp, chosen), map(math.exp, _rivals(chosen, best, second))))
    ordered = sorted(leads)
    if ordered[0] < 0.0:
        leads, ordered = _not_negative(leads), _not_negative(ordered)
    uncut = 1.0
    if min(second) < CUT_OUT or min(best) < CUT_OUT:
        uncut = sum([logprob >= CUT_OUT for logprob in second]) / n
        best, second = _finite(best), _finite(second)
    # Not fsum(), which takes twice as long over numbers of such different sizes.
    entropy = -(sum(map(mul, of_best, best)) + sum(map(mul, of_second, second))) / n
    return {
        "min_margin": ordered[0],
        "low_margin": quantile(ordered, LOW_QUANTILE),
        "mean_margin": min(sum(leads) / n, 1.0),
        "first_margin": leads[0],
        "peakedness": math.exp(-entropy),
        "uncut": uncut,
    }


def _rivals(chosen: Sequence[float], best: Sequence[float], second: Sequence[float]) -> list[float]:
    """The candidate that each chosen token was preferred to: the first, unless it is that."""
    places = zip(chosen, best, second, strict=True)
    return [runner_up if token >= first else first for token, first, runner_up in places]


def _not_negative(leads: Sequence[float]) -> list[float]:
    return [lead if lead > 0.0 else 0.0 for lead in leads]


def _finite(logprobs: Sequence[float]) -> list[float]:
    """The same, but for probabilities of 0, whose logarithm times 0 is no number."""
    return [max(logprob, CUT_OUT) for logprob in logprobs]


# --- what the draft says beside its tokens ---


def _of_form(draft: Draft) -> dict[str, float]:
    found: dict[str, float] = {}
    if draft.finish_reason is not None:
        found["finished"] = float(draft.finish_reason in _ENDED)
    if draft.structure is not Structure.NOT_ASKED:
        found["valid_structure"] = float(draft.structure is Structure.VALID)
    end, agreement = draft.end_logprob, draft.agreement
    if end is not None and end <= MAX_ROUNDING:  # NaN fails this comparison too
        found["end_probability"] = math.exp(min(end, 0.0))
    if agreement is not None and 0.0 <= agreement <= 1.0:
        found[AGREEMENT] = agreement
    if draft.text and (tone := tone_of(draft.text)) is not None:
        found["no_hedge"] = float(not tone.is_hedged)
        found["no_refusal"] = float(not tone.is_refused)
    return found
