"""What a fit is: functions of records' features, and the same as the plain numbers of a policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from evaluation.calibrate import apply_by_group
from evaluation.candidates import Scorer
from evaluation.errors import EvaluationError
from evaluation.features import Table, tells_how_sure
from evaluation.outcomes import Booleans, Floats
from evaluation.prompts import FittedPrompt
from evaluation.records import EVIDENCE_PREFIX
from routing.calibration import Calibration
from routing.model import GROUP_PREFIX, LABEL_PREFIX, PROMPT_MERIT, Learnt, Model, Score
from routing.policy import PromptRule


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a fit says of records, each of shape (n,).

    ``confidence`` and ``merit`` are NaN where there is no signal; ``bar`` is 1 where nothing is
    known of the prompt.
    """

    confidence: Floats
    merit: Floats
    bar: Floats


@dataclass(frozen=True, slots=True)
class Parts:
    """A fit as what a policy is made of; its threshold is somebody else's to choose."""

    score: Model
    calibration: Calibration
    by_group: Mapping[str, Calibration]
    gain: Learnt | None
    prompt: PromptRule | None


@dataclass(frozen=True, slots=True, eq=False)
class FittedRule:
    """From features to confidence and merit.

    ``signal`` is the one that a single-signal rule reads, and else None; ``chosen`` names the
    candidate.  ``scorer`` is None where ``signal`` is the score, ``gain`` where the confidence is
    the merit.
    """

    chosen: str
    names: tuple[str, ...]
    calibration: Calibration
    by_group: Mapping[str, Calibration] = field(default_factory=dict)
    signal: str | None = None
    scorer: Scorer | None = None
    gain: Scorer | None = None

    def judge(self, table: Table, estimate: Floats | None) -> tuple[Floats, Floats]:
        """Confidence and merit of each record, NaN where there is no signal."""
        values = features_of(table, self.names, estimate)
        silent = ~_speaks(table, self.names)
        score = values[:, 0] if self.scorer is None else self.scorer.predict(values)
        confidence = apply_by_group(self.calibration, self.by_group, score, table.groups)
        merit = confidence
        if self.gain is not None:
            merit = (1.0 - np.clip(self.gain.predict(values), -1.0, 1.0)) / 2.0
        return np.where(silent, np.nan, confidence), np.where(silent, np.nan, merit)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Merits and bars of the records that were fitted on, from fits that had not seen them.

    Both have shape (n,); a merit is NaN where there is no signal.
    """

    merit: Floats
    bar: Floats

    @property
    def held(self) -> Floats:
        """What a threshold is held against."""
        return np.minimum(self.merit, self.bar)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """All that was learnt from some records."""

    rule: FittedRule
    prompt: FittedPrompt | None
    margin: float
    out_of_fold: OutOfFold
    areas: Mapping[str, float]

    def judge(self, table: Table) -> Judged:
        """What it says of other records."""
        if self.prompt is None:
            return Judged(*self.rule.judge(table, None), bar=np.ones(table.n))
        promised = np.clip(self.prompt.predict(table), 0.0, 1.0)
        bar = np.clip(promised + self.margin, 0.0, 1.0)
        return Judged(*self.rule.judge(table, promised), bar=bar)

    def export(self) -> Parts:
        """The same as plain numbers.  Raises EvaluationError where a gateway could not see it."""
        rule = self.rule
        if unseen := [name for name in rule.names if name.startswith(EVIDENCE_PREFIX)]:
            raise EvaluationError(f"fit: no gateway sees {', '.join(unseen)}: fit without it")
        score = Score(rule.names, (1.0,)) if rule.scorer is None else rule.scorer.export()
        return Parts(
            score=score,
            calibration=rule.calibration,
            by_group=rule.by_group,
            gain=None if rule.gain is None else rule.gain.export(),
            prompt=None if self.prompt is None else PromptRule(self.prompt.export(), self.margin),
        )


def features_of(table: Table, names: tuple[str, ...], estimate: Floats | None) -> Floats:
    """Each record's features as routing gives them to a rule, shape (n, f); NaN where absent."""
    columns = [_feature(table, name, estimate) for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((table.n, 0))


def _feature(table: Table, name: str, estimate: Floats | None) -> Floats:
    absent = np.full(table.n, np.nan)
    if name == PROMPT_MERIT:
        return absent if estimate is None else estimate
    if name.startswith(LABEL_PREFIX):
        found = (table.labels == name.removeprefix(LABEL_PREFIX)).astype(np.float64)
        return np.where(table.labels == None, np.nan, found)  # noqa: E711 - of each of them
    if name.startswith(GROUP_PREFIX):
        found = (table.groups == name.removeprefix(GROUP_PREFIX)).astype(np.float64)
        return np.where(table.groups == "", np.nan, found)
    if name in table.names:
        return table.signals[:, table.names.index(name)]
    return absent


def _speaks(table: Table, names: tuple[str, ...]) -> Booleans:
    """Whether any of these names is evidence that the record has, shape (n,)."""
    there = [table.names.index(name) for name in names if name in table.names]
    evidence = [place for place in there if tells_how_sure(table.names[place])]
    return np.asarray(~np.isnan(table.signals[:, evidence]).all(axis=1))
