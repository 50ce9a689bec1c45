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
from collections.abc import Iterable, Mapping, Sequence
from operator import mul, sub

from routing.lexicon import tone_of
from routing.vocabulary import Draft, Structure

# Quantiles are the nearest rank from above: at a share of 10% one wild token in ten does not move
# it, two do.
LOW_QUANTILE = 0.1
# A log-softmax computed in bfloat16 over logits of up to 32 is off by less than this.
MAX_ROUNDING = 0.1
# No model is so sure: a candidate below this was taken out before the server looked (top-k, top-p),
# and servers write minus infinity, -9999 or the lowest float for it.
CUT_OUT = -1000.0
LEVELS = {"above_50": math.log(0.5), "above_90": math.log(0.9), "above_99": math.log(0.99)}

Signals = Mapping[str, float]
Logprobs = tuple[float, ...]

TONE_SIGNALS = frozenset({"no_hedge", "no_refusal"})
AGREEMENT = "agreement"  # the share of several drafts that say the same as this one
# The share of the conversation's earlier drafts that were enough.  No draft tells of it: whoever
# knows of earlier turns says so in the request's prospect.
EARLIER_KEPT = "earlier_kept"
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
    | TONE_SIGNALS
    | {"end_probability", "finished", "valid_structure", AGREEMENT, EARLIER_KEPT}
)
# These take half of the time: what is not read of them need not be worked out.
_SPREAD_SIGNALS = frozenset({"peakedness", "uncut"})
_LEVEL_SIGNALS = frozenset(LEVELS)
_PLACE_SIGNALS = frozenset({"q25_probability", "median_probability", "first_probability", "length"})

_ENDED = frozenset({"stop", "tool_calls", "function_call"})
# Looking an enumeration's member up takes a call's time.
_NOT_ASKED = Structure.NOT_ASKED


def signals_of(draft: Draft, wanted: frozenset[str] = SIGNAL_NAMES) -> Signals:
    """The signals that the draft's evidence supports, by name; empty where there is no evidence.

    Those of ``wanted`` are all there that a draft can tell, and some that come with them.
    Of each place the two most likely candidates are read, whatever else the client had asked for.
    Log-probabilities a rounding error above 0 count as 0, minus infinity as probability 0.  A NaN
    anywhere means that the server's arithmetic broke, and anything further above 0 that it reports
    something else, logits for instance: then nothing it said of tokens is evidence.
    """
    found = _of_form(draft)
    if draft.text and not wanted.isdisjoint(TONE_SIGNALS):
        found |= _of_tone(draft.text)
    chosen, best, second = draft.token_logprobs, draft.best_logprobs, draft.second_logprobs
    if not chosen:
        return found
    is_greedy = chosen == best
    others = second if is_greedy else best + second
    if math.isnan(sum(chosen) + sum(others)):  # a NaN anywhere makes the sum one
        return found
    ordered = sorted(chosen)
    highest = max([*others, ordered[-1]])
    if highest > MAX_ROUNDING:
        return found
    if highest > 0.0:
        chosen, best, second = _clipped(chosen), _clipped(best), _clipped(second)
        ordered = sorted(chosen)
    found |= _of_tokens(chosen, ordered, wanted)
    if not wanted.isdisjoint(_LEVEL_SIGNALS):
        found |= _of_levels(ordered)
    has_rivals = len(chosen) == len(best) == len(second)
    if has_rivals and not wanted.isdisjoint(CANDIDATE_SIGNALS):
        found |= _of_candidates(chosen, best, second, wanted, is_greedy=is_greedy)
    return found


def with_past(signals: Signals, earlier_kept: float | None) -> Signals:
    """The signals of a draft, and beside them what is known of earlier ones in its conversation."""
    return signals if earlier_kept is None else {**signals, EARLIER_KEPT: earlier_kept}


def _clipped(logprobs: Logprobs) -> Logprobs:
    """The same, but 0 where a rounding error put one above it."""
    return tuple([logprob if logprob < 0.0 else 0.0 for logprob in logprobs])


# --- what the chosen tokens say ---


def mean_probability(logprobs: Sequence[float]) -> float:
    """Geometric mean of the token probabilities, in [0, 1]; ``logprobs`` has shape (n,), n >= 1."""
    try:
        return math.exp(math.fsum(logprobs) / len(logprobs))
    except OverflowError:  # the sum lies below what floats reach, and so its exponential is 0
        return 0.0


def _of_tokens(
    logprobs: Sequence[float], ordered: Sequence[float], wanted: frozenset[str]
) -> dict[str, float]:
    """``ordered`` are the same log-probabilities, the least first."""
    n = len(ordered)
    found = {
        "mean_probability": mean_probability(logprobs),
        "min_probability": math.exp(ordered[0]),
        "low_probability": math.exp(ordered[math.ceil(LOW_QUANTILE * (n - 1))]),
    }
    if wanted.isdisjoint(_PLACE_SIGNALS):
        return found
    return found | {
        "q25_probability": math.exp(ordered[math.ceil(0.25 * (n - 1))]),
        "median_probability": math.exp(ordered[math.ceil(0.5 * (n - 1))]),
        "first_probability": math.exp(logprobs[0]),
        "length": 1.0 / (1.0 + math.log2(1 + n)),
    }


def _of_levels(ordered: Sequence[float]) -> dict[str, float]:
    n = len(ordered)
    return {name: 1.0 - bisect_left(ordered, level) / n for name, level in LEVELS.items()}


# --- what their rivals say ---


def _of_candidates(
    chosen: Logprobs,
    best: Logprobs,
    second: Logprobs,
    wanted: frozenset[str],
    *,
    is_greedy: bool,
) -> dict[str, float]:
    """Leads of the chosen tokens over their best rivals, in probability; below 0 counts as 0.

    ``is_greedy``: the chosen ones are the best.
    """
    n = len(chosen)
    rivals = second if is_greedy else _rivals(chosen, best, second)
    of_chosen: Iterable[float] = map(math.exp, chosen)
    of_rivals: Iterable[float] = map(math.exp, rivals)
    is_spread_wanted = not wanted.isdisjoint(_SPREAD_SIGNALS)
    if is_spread_wanted and is_greedy:  # which reads both once more
        of_chosen, of_rivals = list(of_chosen), list(of_rivals)
    leads = list(map(sub, of_chosen, of_rivals))
    least = min(leads)
    if least < 0.0:
        leads, least = _not_negative(leads), 0.0
    found = {
        "min_margin": least,
        "mean_margin": min(sum(leads) / n, 1.0),
        "first_margin": leads[0],
    }
    if "low_margin" in wanted:
        found["low_margin"] = sorted(leads)[math.ceil(LOW_QUANTILE * (n - 1))]
    if not is_spread_wanted:
        return found
    of_best, of_second = of_chosen, of_rivals
    if not is_greedy:
        of_best, of_second = map(math.exp, best), map(math.exp, second)
    uncut = 1.0
    if min(second) < CUT_OUT or min(best) < CUT_OUT:
        uncut = sum([logprob >= CUT_OUT for logprob in second]) / n
        best, second = _finite(best), _finite(second)
    # Not fsum(), which takes twice as long over numbers of such different sizes.
    entropy = -(sum(map(mul, of_best, best)) + sum(map(mul, of_second, second))) / n
    return found | {"peakedness": math.exp(-entropy), "uncut": uncut}


def _rivals(chosen: Sequence[float], best: Sequence[float], second: Sequence[float]) -> list[float]:
    """The candidate that each chosen token was preferred to: the first, unless it is that."""
    places = zip(chosen, best, second, strict=True)
    return [runner_up if token >= first else first for token, first, runner_up in places]


def _not_negative(leads: Sequence[float]) -> list[float]:
    return [lead if lead > 0.0 else 0.0 for lead in leads]


def _finite(logprobs: Logprobs) -> Logprobs:
    """The same, but for probabilities of 0, whose logarithm times 0 is no number."""
    return tuple([max(logprob, CUT_OUT) for logprob in logprobs])


# --- what the draft says beside its tokens ---


def _of_form(draft: Draft) -> dict[str, float]:
    found: dict[str, float] = {}
    if draft.finish_reason is not None:
        found["finished"] = float(draft.finish_reason in _ENDED)
    if draft.structure is not _NOT_ASKED:
        found["valid_structure"] = float(draft.structure is Structure.VALID)
    end, agreement = draft.end_logprob, draft.agreement
    if end is not None and end <= MAX_ROUNDING:  # NaN fails this comparison too
        found["end_probability"] = math.exp(min(end, 0.0))
    if agreement is not None and 0.0 <= agreement <= 1.0:
        found[AGREEMENT] = agreement
    return found


def _of_tone(text: str) -> dict[str, float]:
    tone = tone_of(text)
    if tone is None:
        return {}
    return {"no_hedge": float(not tone.is_hedged), "no_refusal": float(not tone.is_refused)}
