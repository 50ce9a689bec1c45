"""From records to a policy that keeps a promise, or a refusal that says what it would take.

The records are cut in two at random.  On one half all is fitted and all is fixed that the theorem
of ``bounds.py`` wants fixed; on the other the thresholds are chosen, with confidences that routing
itself computes from what the policy file will hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation import dossier
from evaluation.bounds import Certified, Refused, choose_threshold
from evaluation.errors import EvaluationError
from evaluation.features import has_prompt, prompt_in
from evaluation.fit import INNER_FOLDS, Options, fit
from evaluation.head_start import head_start
from evaluation.needs import needs_at_least
from evaluation.outcomes import Booleans, Floats
from evaluation.plans import labelled_plan
from evaluation.records import draft_of, earlier_kept_in
from evaluation.rules import Fitted, Parts
from evaluation.source import Source, one_of, read_source
from evaluation.streams import (
    CHECKPOINTS,
    Prefixes,
    Released,
    abort_bounds,
    fit_prefixes,
    judged_prefixes,
    out_of_fold,
    rule_of,
    streamed_rules,
)
from evaluation.targets import Plan, Target
from routing.cascade import Prospect
from routing.policy import Policy, Rule, StreamedRules, uncalibrated_streamed
from routing.policy_file import Basis, Origin, policy_document
from routing.policy_file import Target as WrittenTarget
from routing.sampling import MAX_SAMPLES, Sampling, is_greedy
from routing.signals import AGREEMENT
from routing.vocabulary import Threshold

VERSION = "calibrated"  # a file is named by its content, which is not known yet

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be promised, and for whom; None where the records say so themselves.

    ``date`` is a day as in 2026-11-30.
    """

    target: Target
    options: Options
    date: str
    cascade: str | None = None
    student_version: str | None = None
    hold_tokens: int = 16


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A policy's document, what was certified of it, and what a reader should know besides.

    ``streamed`` is None where nothing was tried for streams.
    """

    document: dict[str, object]
    whole: Certified
    streamed: Certified | Refused | None
    notes: tuple[str, ...]


def calibrate(source: Source, wanted: Wanted, progress: Progress) -> Calibrated | Refused:
    """Fit a policy on half of the records and certify it on the other.

    Raises EvaluationError where the records are not of one student, one cascade and one way of
    sampling, or hold nothing to decide by.
    """
    cascade = one_of(source.cascades, wanted.cascade, "cascade", "--cascade")
    version = one_of(
        source.versions, wanted.student_version, "student version", "--student-version"
    )
    sampling = _sampling(source)
    samples = _samples(source, sampling)
    n = source.table.n
    half = halves(n, wanted.options.seed)
    if len(set(source.table.keys[half])) < INNER_FOLDS:
        return Refused(wanted.target, n - int(half.sum()), needs_at_least(wanted.target))
    progress("fitting")
    fitted, merit = _fitted(source, half, wanted.options)
    policy = _policy(fitted.export(), sampling, samples)
    plan = _plan(source, merit, ~half, wanted.target)
    progress("fitting the beginnings of drafts")
    # Several drafts are compared once they are whole, so that none of them is streamed.
    prefixes = fit_prefixes(source, half, wanted.options) if samples == 1 else None
    progress("judging")
    judged = judge(source, ~half, policy, prefixes, wanted.hold_tokens)
    work = _Work(source, half, wanted, plan, judged)
    certified = work.certified(judged.whole, plan)
    if isinstance(certified, Refused):
        return certified
    policy = replace(policy, whole=_kept_from(policy.whole, certified))
    streamed = None
    if prefixes is not None:
        progress("certifying streams")
        rules, streamed = work.streamed(prefixes, policy.whole, merit)
        policy = replace(policy, streamed=rules)
    start = head_start(source, half, merit, judged.whole)
    notes = dossier.notes(source, wanted.hold_tokens, streamed, prefixes)
    if isinstance(start, str):
        notes = (*notes, f"No head start for an objective of quality: {start}.")
    found = dossier.Findings(certified, streamed, fitted.rule.chosen, fitted.areas, notes)
    evidence = dossier.evidence(work.evidence(), found)
    origin = Origin(
        cascade=cascade,
        student_version=version,
        basis=_basis(certified),
        date=wanted.date,
        data_sha256=source.sha256,
        streamed=_basis(streamed) if isinstance(streamed, Certified) else None,
        evidence=evidence,
        head_start=None if isinstance(start, str) else start,
    )
    return Calibrated(policy_document(policy, origin), certified, streamed, notes)


def read(path: Path, hold_tokens: int) -> Source:
    """The records of a file, with the evidence at every checkpoint."""
    return read_source(path, sorted({*CHECKPOINTS, hold_tokens}))


def halves(n: int, seed: int) -> Booleans:
    """Which records are to be fitted on: half of them, at random; no record is in both halves."""
    order = np.random.default_rng(seed).permutation(n)
    half = np.zeros(n, dtype=np.bool_)
    half[order[: n // 2]] = True
    return half


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What routing says of some of the records, each of shape (n,), NaN for the others.

    ``whole`` is what the threshold for whole drafts is held against, ``confidence`` what the
    policy states; ``released`` is None where nothing is said of beginnings.
    """

    confidence: Floats
    merit: Floats
    bar: Floats
    released: Released | None

    @property
    def whole(self) -> Floats:
        """The merit, or the bar where that is less."""
        return np.minimum(self.merit, self.bar)


def judge(
    source: Source, chosen: Booleans, policy: Policy, prefixes: Prefixes | None, hold_tokens: int
) -> Judged:
    """Ask the policy's own objects about the chosen records."""
    n = source.table.n
    confidence, merit, bar = (np.full(n, np.nan) for _ in range(3))
    rules: Mapping[int, Rule] = {} if prefixes is None else prefixes.rules
    begun = {tokens: np.full(n, np.nan) for tokens in rules}
    for place, record in enumerate(source.records()):
        if not chosen[place]:
            continue
        prompt = prompt_in(record)
        promised = policy.promised(prompt) if has_prompt(record) or prompt.group else None
        hoped = policy.bar(promised)
        bar[place] = 1.0 if hoped is None else hoped.value
        text = draft_of(record.student).text
        signals = source.seen_signals(record)
        features = policy.whole.features(signals, text, prompt.group, promised)
        opinion = policy.whole.opinion(features, prompt.group)
        if opinion is not None:
            confidence[place], merit[place] = opinion.confidence.value, opinion.merit.value
        earlier_kept = earlier_kept_in(record.student)
        prospect = Prospect(group=prompt.group, promised=promised, earlier_kept=earlier_kept)
        for tokens, value in judged_prefixes(rules, record, prospect):
            begun[tokens][place] = value
    released = None
    if prefixes is not None:
        released = _released(source, begun, merit, hold_tokens)
    return Judged(confidence, merit, bar, released)


def _released(
    source: Source, begun: Mapping[int, Floats], end: Floats, hold_tokens: int
) -> Released:
    reaches = source.tokens >= hold_tokens
    before = {tokens: merit for tokens, merit in begun.items() if tokens < hold_tokens}
    silent = np.zeros(source.table.n, dtype=np.bool_)
    for tokens, merit in before.items():
        silent |= (source.tokens >= tokens) & np.isnan(merit)
    return Released(np.where(reaches, begun[hold_tokens], end), before, silent)


def _fitted(source: Source, half: Booleans, options: Options) -> tuple[Fitted, Floats]:
    """What was learnt, and what it says of the records that it learnt from without seeing them."""
    fitted = fit(source.visible().take(np.flatnonzero(half)), options)
    found = np.full(source.table.n, np.nan)
    found[half] = fitted.out_of_fold.held
    return fitted, found


def _policy(parts: Parts, sampling: Sampling | None, samples: int) -> Policy:
    whole = rule_of(parts)
    return Policy(VERSION, whole, prompt=parts.prompt, sampling=sampling, samples=samples)


def _plan(source: Source, merit: Floats, calibration: Booleans, target: Target) -> Plan:
    """Fixed by the labels of the fitted half alone; how records were drawn is no label."""
    outcomes, fitted = source.table.outcomes, ~calibration
    said = merit[fitted]
    if np.isnan(said).all():
        raise EvaluationError("calibrate: no draft of the fitted half has evidence to decide by")
    bound = float(outcomes.weight.max())
    n = int(calibration.sum())
    return labelled_plan(outcomes.take(fitted), said, target, n, bound)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    source: Source
    half: Booleans
    wanted: Wanted
    plan: Plan
    judged: Judged

    def certified(self, merit: Floats, plan: Plan) -> Certified | Refused:
        outcomes = self.source.table.outcomes.take(~self.half)
        said = np.where(np.isneginf(merit), np.nan, merit)[~self.half]
        return choose_threshold(outcomes, said, self.wanted.target, plan)

    def streamed(
        self, prefixes: Prefixes, whole: Rule, merit: Floats
    ) -> tuple[StreamedRules, Certified | Refused]:
        """One threshold for all checkpoints and the end; the default rules where none holds."""
        hold, weight = self.wanted.hold_tokens, self.source.table.outcomes.weight
        # About where the threshold will be: the calibration half is not asked.
        outcomes = self.source.table.outcomes.take(self.half)
        guess = choose_threshold(outcomes, merit[self.half], self.wanted.target, self.plan)
        start = float(self.plan.thresholds[self.plan.starts[0].level])
        about = guess.threshold if isinstance(guess, Certified) else start
        aborts = abort_bounds(prefixes, np.nan_to_num(merit, nan=-1.0), about, weight)
        released = out_of_fold(self.source, prefixes, merit, hold)
        fitted = released.at(np.ones_like(merit), aborts)
        plan = _plan(
            self.source,
            np.where(np.isneginf(fitted), np.nan, fitted),
            ~self.half,
            self.wanted.target,
        )
        if self.judged.released is None:
            raise AssertionError("prefixes were judged")
        found = self.certified(self.judged.released.at(self.judged.bar, aborts), plan)
        if isinstance(found, Refused):
            return uncalibrated_streamed(), found
        rules = streamed_rules(prefixes, whole, aborts, found.threshold, hold)
        return rules, found

    def evidence(self) -> dossier.Material:
        table = self.source.table.take(np.flatnonzero(~self.half))
        return dossier.Material(
            outcomes=table.outcomes,
            merit=self.judged.whole[~self.half],
            confidence=self.judged.confidence[~self.half],
            groups=table.groups,
            fitted_on=int(self.half.sum()),
            price_ratio=self.wanted.options.price_ratio,
            seed=self.wanted.options.seed,
            plan=self.plan,
        )


def _kept_from(rule: Rule, certified: Certified) -> Rule:
    return replace(rule, threshold=Threshold(certified.threshold))


def _basis(certified: Certified) -> Basis:
    target = certified.target
    return Basis(
        WrittenTarget(target.kind.value, target.value, target.with_probability),
        bound=target.value,
        n=certified.n,
    )


def _sampling(source: Source) -> Sampling | None:
    """How all drafts were drawn; None where no record says.

    Raises EvaluationError where they were not drawn alike.
    """
    if len(source.samplings) > 1:
        known = "; ".join(str(dict(each)) for each in source.samplings[:4])
        raise EvaluationError(
            f"the drafts were sampled in {len(source.samplings)} ways ({known}), and what a "
            "log-probability means depends on that: calibrate on records of one"
        )
    return source.samplings[0] if source.samplings else None


def _samples(source: Source, sampling: Sampling | None) -> int:
    """How many drafts each record's was chosen from.

    Raises EvaluationError where that differs, and where they could only be one and the same.
    """
    if len(source.samples) > 1:
        known = " and ".join(map(str, sorted(source.samples)))
        raise EvaluationError(
            f"student.samples: drafts were chosen from {known}, and how far they agree means "
            "something else each time: calibrate on records of one number"
        )
    (samples,) = source.samples
    if samples > MAX_SAMPLES:
        raise EvaluationError(
            f"student.samples: a gateway asks for at most {MAX_SAMPLES} drafts, got {samples}"
        )
    if samples > 1 and AGREEMENT not in source.table.names:
        raise EvaluationError(
            f"student.signals.{AGREEMENT}: no record says which share of the {samples} drafts "
            "agrees with the one that it holds"
        )
    if samples > 1 and is_greedy(sampling or {}):
        raise EvaluationError(
            f"student.samples: {samples} drafts that always take the likeliest token are one, and "
            "a gateway asks for one: record at a temperature above 0"
        )
    return samples
