"""The methods that `understudy evaluate` sets side by side, each in the order that it escalates.

What is fitted is fitted on other folds than the record that it is asked about.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.calibrate import apply, fit_map
from evaluation.curves import Ranking, oracle_ranking, random_ranking
from evaluation.features import Table, tells_how_sure
from evaluation.fit import INNER_FOLDS, Options, best_signal, fit, merit_of
from evaluation.folds import folds_of, splits
from evaluation.outcomes import Floats, Integers
from evaluation.prompts import fit_prompt
from evaluation.records import EVIDENCE_PREFIX

RANDOM, ORACLE = "random", "oracle"
MEAN_LOGPROB, BEST_SIGNAL = "mean_logprob", "best_signal"
PRE_GENERATION, LEARNT, LEARNT_PRE = "pre_generation", "learnt", "learnt_pre"
POLICY = "policy"
SIGNAL_PREFIX = "signal:"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Methods by name, and how many folds chose each signal and each kind of rule."""

    rankings: Mapping[str, Ranking]
    chosen: Mapping[str, Mapping[str, int]]


def compare(table: Table, options: Options, folds: int, progress: Progress) -> Compared:
    """Every method that these records allow.

    Without evidence of how sure the student was there is no cascade, without prompts no router.
    ``progress`` is told what comes next.  Raises EvaluationError where there are fewer different
    records than folds.
    """
    price = 1.0 / options.price_ratio
    sampled = sampled_price(table, options)
    rankings = {RANDOM: random_ranking(table.outcomes, price)}
    fold = folds_of(table.keys, folds, options.seed)
    chosen: dict[str, dict[str, int]] = {"rule": {}, "signal": {}}
    if table.has_evidence:
        rankings |= _plain(table, price, sampled)
        rankings[BEST_SIGNAL] = _best_signal(table, fold, sampled, chosen["signal"])
    if table.has_prompts:
        rankings[PRE_GENERATION] = _pre_generation(table, fold, options, progress)
    if table.has_evidence:
        rankings |= _learnt(table, fold, options, progress, chosen["rule"])
    # The best order is that of a router which knows before any draft is paid.
    best = oracle_ranking(table.outcomes).confidence
    rankings[ORACLE] = Ranking(best, price, bar=best)
    return Compared(rankings, chosen)


def steps(table: Table, folds: int) -> int:
    """How often `compare` reports progress."""
    return folds * (int(table.has_prompts) + int(table.has_evidence))


def sampled_price(table: Table, options: Options) -> float:
    """What a draft costs with all calls that its evidence took, in prices of the teacher's."""
    return float(np.average(table.calls, weights=table.outcomes.weight)) / options.price_ratio


def _plain(table: Table, price: float, sampled: float) -> dict[str, Ranking]:
    """What needs no fit: the raw mean log-probability, and each signal as it is."""
    found = {}
    if not np.isnan(table.mean_logprob).all():
        stated = np.exp(np.minimum(table.mean_logprob, 0.0))
        found[MEAN_LOGPROB] = Ranking(table.mean_logprob, price, stated=stated)
    for place, name in enumerate(table.names):
        if tells_how_sure(name):
            shown = f"{SIGNAL_PREFIX}{name.removeprefix(EVIDENCE_PREFIX)}"
            is_sampled = name == "agreement"
            found[shown] = Ranking(table.signals[:, place], sampled if is_sampled else price)
    return found


def _best_signal(table: Table, fold: Integers, price: float, chosen: dict[str, int]) -> Ranking:
    """The signal that is best on the other folds, by the confidence that they give it."""
    stated = np.full(table.n, np.nan)
    for others, these in splits(fold):
        known = table.take(others)
        name = best_signal(known)
        chosen[name] = chosen.get(name, 0) + 1
        place = table.names.index(name)
        heard = ~np.isnan(known.signals[:, place])
        outcomes = known.outcomes.take(heard)
        said = known.signals[heard, place]
        calibration = fit_map(said, outcomes.student, outcomes.weight)
        stated[these] = apply(calibration, table.signals[these, place])
    return Ranking(stated, price)


def _pre_generation(table: Table, fold: Integers, options: Options, progress: Progress) -> Ranking:
    """A router: the prompt's promise decides, and drafts that it does not keep are never paid."""
    promise, stated = np.empty(table.n), np.empty(table.n)
    for number, (others, these) in enumerate(splits(fold), start=1):
        progress(f"prompts, fold {number}")
        known = table.take(others)
        target, _ = merit_of(known)
        inner = folds_of(known.keys, INNER_FOLDS, options.seed)
        model, estimate = fit_prompt(known, target, inner)
        promise[these] = model.predict(table.take(these))
        outcomes = known.outcomes
        calibration = fit_map(estimate, outcomes.student, outcomes.weight)
        stated[these] = apply(calibration, promise[these])
    return Ranking(promise, 1.0 / options.price_ratio, bar=promise, stated=stated)


def _learnt(
    table: Table, fold: Integers, options: Options, progress: Progress, chosen: dict[str, int]
) -> dict[str, Ranking]:
    """The cascade, and the same after the prompt is asked whether a draft is worth its price."""
    confidence, merit, bar = (np.empty(table.n) for _ in range(3))
    for number, (others, these) in enumerate(splits(fold), start=1):
        progress(f"rule, fold {number}")
        fitted = fit(table.take(others), options)
        judged = fitted.judge(table.take(these))
        confidence[these], merit[these] = judged.confidence, judged.merit
        bar[these] = judged.bar
        chosen[fitted.rule.chosen] = chosen.get(fitted.rule.chosen, 0) + 1
    price = sampled_price(table, options)
    found = {LEARNT: Ranking(merit, price, stated=confidence)}
    if table.has_prompts:
        found[LEARNT_PRE] = ranking_of(confidence, merit, bar, price)
    return found


def ranking_of(confidence: Floats, merit: Floats, bar: Floats, price: float) -> Ranking:
    """A cascade that is held to what a draft shows and to what its prompt allowed to hope for."""
    return Ranking(np.minimum(merit, bar), price, bar=bar, stated=confidence)
