"""Fits all that a policy decides by, from labelled records.

Candidates are tried on inner folds, the simplest that does about as well as the best is taken, and
whatever is fitted on another's results (the prompt's estimate that a rule reads, the calibration,
the margin of the bar) sees only results for records that had no part in them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.calibrate import (
    apply,
    apply_by_group,
    fit_by_group,
    fit_logistic,
    fit_map,
    log_loss,
)
from evaluation.candidates import (
    FITTERS,
    FittedLinear,
    Sample,
    Scorer,
    fit_average,
)
from evaluation.errors import EvaluationError
from evaluation.features import Table, tells_how_sure
from evaluation.folds import folds_of, splits
from evaluation.outcomes import Floats, Integers
from evaluation.prompts import FittedPrompt, fit_prompt
from evaluation.rules import Fitted, FittedRule, OutOfFold, features_of
from evaluation.selection import area, simplest_good
from routing.calibration import Calibration
from routing.model import GROUP_PREFIX, LABEL_PREFIX, PROMPT_MERIT

SINGLE, AVERAGE = "single", "average"
# The best signal and what the prompt promises, and nothing else: for few records.
NARROW = "narrow"
INNER_FOLDS = 4
# With fewer there is no telling candidates apart: the best signal it is.
LEAST_RECORDS = 80
LEAST_OF_A_CLASS = 5
# A name must stand in so many records, and in so large a share of them, to be a feature.
LEAST_NAMED = 20
LEAST_NAMED_SHARE = 0.01
MOST_LABELS = 16
MOST_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen of a fit.

    ``price_ratio`` is the teacher's price over the student's: a draft is worth its price only where
    it will be kept more often than once in so many.  ``reads_prompt`` lets the rule read what the
    prompt alone tells.
    """

    price_ratio: float = 20.0
    seed: int = 0
    reads_prompt: bool = True


def merit_of(table: Table) -> tuple[Floats, bool]:
    """What merit is to estimate, shape (n,), and whether that is the probability of acceptance.

    It is where the teacher is always as good: then all that the teacher can gain is what the draft
    lacks.  Elsewhere it is ``(1 - gain) / 2``.
    """
    student, teacher = table.outcomes.student, table.outcomes.teacher
    if np.ptp(teacher) == 0.0:
        return student, True
    return (1.0 + student - teacher) / 2.0, False


def best_signal(table: Table) -> str:
    """The signal whose order is best on these records.  Raises EvaluationError without any."""
    names = [name for name in table.names if tells_how_sure(name) and _is_there(table, name)]
    if not names:
        raise EvaluationError(
            f"fit: of the {table.n} records to fit on none has token log-probabilities or other "
            "evidence of how sure the student was: more records that have are needed, or none"
        )
    return max(names, key=lambda name: area(table.outcomes, _column(table, name)))


def fit(table: Table, options: Options) -> Fitted:
    """Fit a rule, and where there are prompts what they promise.

    Raises EvaluationError where no record has any evidence, or there are fewer than INNER_FOLDS
    different ones.
    """
    signal = best_signal(table)
    fold = folds_of(table.keys, INNER_FOLDS, options.seed)
    target, is_probability = merit_of(table)
    prompt, estimate = fit_estimate(table, target, fold)
    read = np.clip(estimate, 0.0, 1.0) if options.reads_prompt and prompt is not None else None
    names = _feature_names(table, with_prompt=read is not None)
    sample = Sample(names, features_of(table, names, read), table.outcomes.weight)
    narrow = (signal, PROMPT_MERIT) if read is not None else ()
    work = _Work(table, sample, fold, target, is_probability, narrow)
    merits = {SINGLE: _column(table, signal)}
    if _is_enough(table, fold):
        merits |= work.merits_out_of_fold()
    chosen = simplest_good(table.outcomes, merits)
    if chosen == SINGLE:
        rule, merit = _single_rule(table, signal, target, is_probability=is_probability)
    else:
        rule, merit = work.rule(chosen, merits[chosen])
    margin, bar = 0.0, np.ones(table.n)
    if prompt is not None:
        promised = np.clip(estimate, 0.0, 1.0)
        margin = _margin(merit - promised, table.outcomes.weight, options.price_ratio)
        bar = np.clip(promised + margin, 0.0, 1.0)
    areas = {name: area(table.outcomes, each) for name, each in merits.items()}
    return Fitted(rule, prompt, margin, OutOfFold(merit, bar), areas)


def fit_estimate(
    table: Table, target: Floats, fold: Integers
) -> tuple[FittedPrompt | None, Floats]:
    """What prompts promise of ``target``, and that out of fold; None where they tell nothing."""
    middle = np.full(table.n, np.average(target, weights=table.outcomes.weight))
    if not table.has_prompts:
        return None, middle
    prompt, estimate = fit_prompt(table, target, fold)
    weight = table.outcomes.weight
    if weight @ (target - estimate) ** 2 >= weight @ (target - middle) ** 2:
        return None, middle
    return prompt, estimate


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What the candidates are tried on."""

    table: Table
    sample: Sample
    fold: Integers
    target: Floats
    is_probability: bool
    narrow: tuple[str, ...] = ()

    def merits_out_of_fold(self) -> dict[str, Floats]:
        """Each candidate's order of records that it has not seen, the simplest first."""
        silent = self._silent()
        found = {}
        for name in (*((NARROW,) if self.narrow else ()), *FITTERS):
            scores = self._out_of_fold(name, self._wanted(), is_probability=self.is_probability)
            merit = scores if self.is_probability else (1.0 - np.clip(scores, -1.0, 1.0)) / 2.0
            found[name] = np.where(silent, np.nan, merit)
        found[AVERAGE] = (found["linear"] + found["trees"]) / 2.0
        return found

    def rule(self, chosen: str, merit: Floats) -> tuple[FittedRule, Floats]:
        """The chosen candidate, fitted on all records, and its merits out of fold."""
        outcomes = self.table.outcomes
        spoken = ~self._silent()
        accept = self._fit(chosen, outcomes.student, is_probability=True)
        scores = self._out_of_fold(chosen, outcomes.student, is_probability=True)
        heard = self.table.take(spoken)
        calibration = fit_logistic(scores[spoken], heard.outcomes.student, heard.outcomes.weight)
        by_group = _by_group_if_better(heard, scores[spoken], self.fold[spoken])
        gain = (
            None if self.is_probability else self._fit(chosen, self._wanted(), is_probability=False)
        )
        rule = FittedRule(
            chosen, self._part(chosen).names, calibration, by_group, scorer=accept, gain=gain
        )
        if self.is_probability:
            merit = apply_by_group(calibration, by_group, scores, self.table.groups)
            merit = np.where(spoken, merit, np.nan)
        return rule, merit

    def _wanted(self) -> Floats:
        """The target itself, or the gain that it stands for."""
        return self.target if self.is_probability else 1.0 - 2.0 * self.target

    def _silent(self) -> np.ndarray:
        evidence = [place for place, name in enumerate(self.sample.names) if tells_how_sure(name)]
        return np.asarray(np.isnan(self.sample.values[:, evidence]).all(axis=1))

    def _part(self, chosen: str) -> Sample:
        return self.sample.among(self.narrow) if chosen == NARROW else self.sample

    def _fit(
        self, chosen: str, target: Floats, places: Any = slice(None), *, is_probability: bool
    ) -> Scorer:
        sample = self._part(chosen).take(places)
        if chosen == AVERAGE:
            return fit_average(sample, target[places], is_probability=is_probability)
        fitter = FITTERS["linear" if chosen == NARROW else chosen]
        return fitter(sample, target[places], is_probability)

    def _out_of_fold(self, name: str, target: Floats, *, is_probability: bool) -> Floats:
        found = np.empty(self.table.n)
        values = self._part(name).values
        for others, these in splits(self.fold):
            scorer = self._fit(name, target, others, is_probability=is_probability)
            found[these] = scorer.predict(values[these])
        return found


def _is_enough(table: Table, fold: Integers) -> bool:
    """Whether each part to fit on has acceptable drafts and others, and all are more than a few."""
    good = table.outcomes.student
    rare = (min(good[others].sum(), (1.0 - good[others]).sum()) for others, _ in splits(fold))
    return table.n >= LEAST_RECORDS and min(rare) >= LEAST_OF_A_CLASS


def _single_rule(
    table: Table, signal: str, target: Floats, *, is_probability: bool
) -> tuple[FittedRule, Floats]:
    score = _column(table, signal)
    heard = table.take(~np.isnan(score))
    said, outcomes = score[~np.isnan(score)], heard.outcomes
    calibration = fit_map(said, outcomes.student, outcomes.weight)
    by_group = {}
    if is_probability and len(set(heard.keys)) >= INNER_FOLDS:
        fold = folds_of(heard.keys, INNER_FOLDS, 0)
        by_group = _by_group_if_better(heard, said, fold)
    gain = None
    if not is_probability:
        gain = _line(signal, said, 1.0 - 2.0 * target[~np.isnan(score)], outcomes.weight)
    rule = FittedRule(SINGLE, (signal,), calibration, by_group, gain=gain)
    return rule, rule.judge(table, None)[1]


def _is_there(table: Table, name: str) -> bool:
    return not np.isnan(_column(table, name)).all()


def _line(signal: str, score: Floats, gain: Floats, weight: Floats) -> FittedLinear:
    """The gain as a straight line over one signal that falls, so that the order stays."""
    middle, height = np.average(score, weights=weight), np.average(gain, weights=weight)
    away = score - middle
    spread = max(float(weight @ away**2), 1e-12)
    slope = min(float(weight @ (away * (gain - height))) / spread, -1e-3)
    # Beyond [-1, 1] a gain is cut, and the order with it.
    steepest = min(1.0 - height, 1.0 + height) / max(float(np.abs(away).max()), 1e-12)
    slope = max(slope, -max(float(steepest), 1e-3))
    return FittedLinear(
        names=(signal,),
        weights=np.array([slope]),
        defaults=np.array([float(middle)]),
        intercept=float(height - slope * middle),
        by_logit=np.array([False]),
    )


def _by_group_if_better(table: Table, score: Floats, fold: Integers) -> dict[str, Calibration]:
    """A map for each group where that predicts other folds better than one for all does."""
    if len(set(table.groups) - {""}) == 0:
        return {}
    student, weight = table.outcomes.student, table.outcomes.weight
    saved = np.zeros(table.n)
    for others, these in splits(fold):
        seen = score[others], student[others], weight[others]
        pooled = fit_logistic(*seen)
        own = fit_by_group(*seen, table.groups[others])
        said = apply_by_group(pooled, own, score[these], table.groups[these])
        saved[these] = log_loss(apply(pooled, score[these]), student[these]) - log_loss(
            said, student[these]
        )
    share = weight / weight.sum()
    mean = float(share @ saved)
    if mean <= float(np.sqrt(share**2 @ (saved - mean) ** 2)):
        return {}
    return dict(fit_by_group(score, student, weight, table.groups))


def _margin(above: Floats, weight: Floats, price_ratio: float) -> float:
    """How far above its estimate a merit comes out no more often than once in ``price_ratio``."""
    known = ~np.isnan(above)
    order = np.argsort(above[known])
    running = np.cumsum(weight[known][order])
    place = np.searchsorted(running, (1.0 - 1.0 / price_ratio) * running[-1])
    return float(above[known][order][min(int(place), len(order) - 1)])


def _feature_names(table: Table, *, with_prompt: bool) -> tuple[str, ...]:
    """Signals that differ between records, labels and groups that are named often enough."""
    signals = []
    for place, name in enumerate(table.names):
        values = table.signals[:, place]
        there = values[~np.isnan(values)]
        if (there.size >= LEAST_NAMED and np.ptp(there) > 0.0) or tells_how_sure(name):
            signals.append(name)
    labels = _often(table.labels, MOST_LABELS)
    groups = _often(table.groups, MOST_GROUPS)
    return (
        *signals,
        *(f"{LABEL_PREFIX}{name}" for name in labels),
        *(f"{GROUP_PREFIX}{name}" for name in groups if len(groups) > 1),
        *((PROMPT_MERIT,) if with_prompt else ()),
    )


def _often(names: np.ndarray, most: int) -> list[str]:
    given, counts = np.unique([name for name in names if name], return_counts=True)
    least = max(LEAST_NAMED, LEAST_NAMED_SHARE * len(names))
    order = np.argsort(-counts, kind="stable")[:most]
    return sorted(str(given[place]) for place in order if counts[place] >= least)


def _column(table: Table, name: str) -> Floats:
    return np.asarray(table.signals[:, table.names.index(name)])
