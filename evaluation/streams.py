"""The rules for a draft that is judged while it is written, fitted and put to the test.

A checkpoint has a rule of its own, as the beginning of a draft is no draft.  What a gate then does
with a record is one number here, so that the same theorem holds of it: a draft is released at a
threshold t just where that number is at least t.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from evaluation.features import Table
from evaluation.fit import INNER_FOLDS, Options, fit
from evaluation.outcomes import Booleans, Floats
from evaluation.records import Record, draft_of
from evaluation.rules import Parts
from evaluation.source import Source, prefix_of, with_signals
from routing.cascade import Prospect
from routing.policy import NEVER, Checkpoint, Rule, StreamedRules
from routing.signals import EVIDENCE_NAMES, signals_of, with_past
from routing.vocabulary import Threshold

CHECKPOINTS = (8, 16, 32, 64)
# A rule for a checkpoint is fitted on the drafts that are so long where there are so many of them,
# else on all drafts, cut to that length where they are longer.
LEAST_LONG = 200
# Of the drafts that would be released, or kept at the end, all checkpoints together may give up so
# many, as the records that the rules were fitted on show it.
MOST_LOST = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Rules for the beginnings of drafts, by their number of tokens.

    ``merits`` are what each rule says of the records that it was fitted on without having seen
    them, NaN where a draft is shorter; ``counts`` on how many drafts each was fitted.
    """

    rules: Mapping[int, Rule]
    merits: Mapping[int, Floats]
    counts: Mapping[int, int]
    is_cut: Mapping[int, bool]


def rule_of(parts: Parts) -> Rule:
    """A rule that keeps everything which it has an opinion of: its threshold is still to come."""
    return Rule(parts.score, parts.calibration, NEVER, by_group=parts.by_group, gain=parts.gain)


def fit_prefixes(source: Source, half: Booleans, options: Options) -> Prefixes | None:
    """A rule for each checkpoint, fitted on half of the records.

    None where there is no token evidence, or of too few drafts.

    What prompts promise is left to the bar, which a draft has to pass before it is begun.
    """
    rules, merits, counts, cut = {}, {}, {}, {}
    for tokens, signals in source.prefixes.items():
        if not EVIDENCE_NAMES.intersection(signals):
            return None
        long = source.tokens >= tokens
        is_cut = bool(np.count_nonzero(half & long) < LEAST_LONG)
        chosen = np.flatnonzero(half & (source.tokens > 0) if is_cut else half & long)
        table = _beginnings(source.table, signals).take(chosen)
        if len(set(table.keys)) < INNER_FOLDS or np.isnan(table.signals).all():
            return None
        fitted = fit(table, replace(options, reads_prompt=False))
        rules[tokens] = rule_of(fitted.export())
        found = np.full(source.table.n, np.nan)
        found[chosen] = fitted.out_of_fold.merit
        merits[tokens] = np.where(long, found, np.nan)
        counts[tokens], cut[tokens] = len(chosen), is_cut
    return Prefixes(rules, merits, counts, cut) if rules else None


def _beginnings(table: Table, signals: Mapping[str, Floats]) -> Table:
    nothing_said = np.full(table.n, None, dtype=object)
    return replace(with_signals(table, signals), labels=nothing_said, prompts=None)


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What of a record decides whether its draft is released, each of shape (n,).

    ``decides`` is the merit at the window's checkpoint, or at the end of a shorter draft;
    ``before`` has those at the checkpoints that come earlier, NaN where a draft does not reach
    them; ``silent`` marks the drafts of which a checkpoint could say nothing.
    """

    decides: Floats
    before: Mapping[int, Floats]
    silent: Booleans

    def at(self, bar: Floats, aborts: Mapping[int, float]) -> Floats:
        """The largest threshold at which each draft is released, -inf where there is none.

        A checkpoint gives up what lies below the less of its own bound and the threshold.
        """
        found = np.minimum(np.where(np.isnan(self.decides), -np.inf, self.decides), bar)
        for tokens, merit in self.before.items():
            given_up = merit < aborts[tokens]  # NaN fails this comparison
            found = np.where(given_up, np.minimum(found, merit), found)
        return np.where(self.silent, -np.inf, found)


def out_of_fold(source: Source, prefixes: Prefixes, end: Floats, hold_tokens: int) -> Released:
    """The same for the records that were fitted on, by merits out of fold.

    ``end`` is that of whole drafts.
    """
    window = prefixes.merits[hold_tokens]
    reaches = source.tokens >= hold_tokens
    before = {tokens: merit for tokens, merit in prefixes.merits.items() if tokens < hold_tokens}
    silent = np.zeros(source.table.n, dtype=np.bool_)
    for tokens, merit in before.items():
        silent |= (source.tokens >= tokens) & np.isnan(merit)
    return Released(np.where(reaches, window, end), before, silent)


def judged_prefixes(
    rules: Mapping[int, Rule], record: Record, prospect: Prospect
) -> Iterator[tuple[int, float]]:
    """The merit of a record's draft at each checkpoint that it reaches, by routing's own rules."""
    draft = draft_of(record.student)
    for tokens, rule in rules.items():
        if len(draft.token_logprobs) < tokens:
            return
        begun = prefix_of(record.student, tokens)
        signals = with_past(signals_of(begun), prospect.earlier_kept)
        features = rule.features(signals, "", prospect.group, prospect.promised)
        merit = rule.merit(features, prospect.group)
        yield tokens, np.nan if merit is None else merit.value


def abort_bounds(
    prefixes: Prefixes, end: Floats, at_least: float, weight: Floats
) -> dict[int, float]:
    """Below which merit each checkpoint gives a draft up, at a loss of at most MOST_LOST.

    Chosen on the records that the rules were fitted on, for drafts that would be kept at their end
    at about ``at_least``; each checkpoint may lose an equal part.
    """
    allowed = MOST_LOST / len(prefixes.merits)
    total = float(weight[end >= at_least].sum())
    found = {}
    for tokens, merit in prefixes.merits.items():
        kept = (end >= at_least) & ~np.isnan(merit)
        order = np.argsort(merit[kept])
        lost = np.cumsum(weight[kept][order])
        # What lies below the bound is lost: so many of the least, and not the one that it is.
        place = int(np.searchsorted(lost, allowed * total, "right"))
        rising = merit[kept][order]
        bound = float(rising[min(place, len(rising) - 1)]) if len(rising) else 0.0
        found[tokens] = min(bound, at_least)
    return found


def streamed_rules(
    prefixes: Prefixes, end: Rule, aborts: Mapping[int, float], threshold: float, hold_tokens: int
) -> StreamedRules:
    """The rules with their threshold, and with bounds that never lie above it."""

    def bounded(rule: Rule, abort_below: float) -> Rule:
        return replace(
            rule,
            threshold=Threshold(threshold),
            abort_below=Threshold(min(abort_below, threshold)),
        )

    return StreamedRules(
        checkpoints=tuple(
            Checkpoint(tokens, bounded(rule, aborts[tokens]))
            for tokens, rule in prefixes.rules.items()
        ),
        end=bounded(end, min(aborts.values())),
        arguments=bounded(end, 0.0),
        hold_tokens=hold_tokens,
    )
