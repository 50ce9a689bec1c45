"""All that one cascade needs to decide: which signals, how they add up, what they mean, how much.

``policy_from_document`` reads the policy file's JSON, already parsed, and refuses what it does not
know.  Nothing here opens the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from routing.calibration import Calibration, Logistic, PiecewiseLinear, Uncalibrated
from routing.errors import PolicyError
from routing.signals import SIGNAL_NAMES, Signals
from routing.vocabulary import Confidence, Threshold

SCHEMA_VERSION = 1
UNCALIBRATED_VERSION = "uncalibrated"
DEFAULT_THRESHOLD = Threshold(0.8)
DEFAULT_ABORT_BELOW = Threshold(0.4)
DEFAULT_CHECKPOINTS = (8, 16, 32, 64)

_LARGEST = math.nextafter(math.inf, 0.0)
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"

_TOP_KEYS = frozenset(
    {"schema_version", "cascade", "student_version", "score", "calibration", "threshold"}
    | {"target", "bound", "n", "date", "data_sha256"}
)
_RULE_KEYS = frozenset({"score", "calibration", "threshold"})
_ABORTING_KEYS = _RULE_KEYS | {"abort_below"}
_CHECKPOINT_KEYS = _ABORTING_KEYS | {"tokens"}
_STREAMED_KEYS = frozenset({"checkpoints", "end", "arguments", "target", "bound", "n"})
_NEVER = Threshold(0.0)  # every confidence is at least 0


@dataclass(frozen=True, slots=True)
class Score:
    """A weighted sum of signals.  ``signals`` and ``weights`` have the same shape (n,), n >= 1."""

    signals: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float = 0.0

    def of(self, signals: Signals) -> float | None:
        """The score, any finite number; None where a signal it needs is absent."""
        total = self.intercept
        for name, weight in zip(self.signals, self.weights, strict=True):
            value = signals.get(name)
            if value is None:
                return None
            total += weight * value
        return total


@dataclass(frozen=True, slots=True)
class Rule:
    """From signals to a confidence, and the two bounds that it is held against.

    ``threshold`` is enough to keep; below ``abort_below`` there is no hope, or no longer, and 0
    gives none up.  Raises PolicyError where ``abort_below`` exceeds ``threshold``.
    """

    score: Score
    calibration: Calibration
    threshold: Threshold
    abort_below: Threshold = _NEVER

    def __post_init__(self) -> None:
        if self.abort_below.value > self.threshold.value:
            raise PolicyError(
                f"abort_below: must be at most the threshold, {self.threshold.value!r}, "
                f"got {self.abort_below.value!r}"
            )

    def confidence(self, signals: Signals) -> Confidence | None:
        """Confidence in a draft with these signals; None where they do not suffice."""
        score = self.score.of(signals)
        return None if score is None else self.calibration.confidence(score)

    def with_threshold(self, threshold: Threshold) -> "Rule":
        """The same rule, kept at another confidence and never aborted above it."""
        abort_below = Threshold(min(self.abort_below.value, threshold.value))
        return replace(self, threshold=threshold, abort_below=abort_below)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The rule for a prefix of ``tokens`` tokens: that is not the rule for an answer."""

    tokens: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class StreamedRules:
    """The rules for a draft that is judged while it is written.

    ``checkpoints`` judge its first tokens, ``end`` its whole text, ``arguments`` the tokens of its
    tool calls.  Raises PolicyError unless there are checkpoints, their tokens strictly increasing
    from 1 or more.
    """

    checkpoints: tuple[Checkpoint, ...]
    end: Rule
    arguments: Rule
    is_calibrated: bool = True

    def __post_init__(self) -> None:
        tokens = [0, *(checkpoint.tokens for checkpoint in self.checkpoints)]
        if len(tokens) == 1:
            raise PolicyError("streamed.checkpoints: there must be at least one")
        if any(left >= right for left, right in pairwise(tokens)):
            raise PolicyError(
                "streamed.checkpoints: tokens must strictly increase from at least 1, "
                f"got {tokens[1:]}"
            )

    def with_threshold(self, threshold: Threshold) -> "StreamedRules":
        """The same rules, all of them kept at another confidence."""
        return replace(
            self,
            checkpoints=tuple(
                replace(checkpoint, rule=checkpoint.rule.with_threshold(threshold))
                for checkpoint in self.checkpoints
            ),
            end=self.end.with_threshold(threshold),
            arguments=self.arguments.with_threshold(threshold),
        )


def uncalibrated_streamed() -> StreamedRules:
    """The rules for the streams of a cascade whose policy says nothing of them.

    Prefix and answer alike are held against the default score; arguments stand or fall with their
    weakest token.  Nobody has checked what these numbers mean for your traffic.
    """
    score = _average_of_four()
    rule = Rule(score, Uncalibrated(), DEFAULT_THRESHOLD, DEFAULT_ABORT_BELOW)
    return StreamedRules(
        checkpoints=tuple(Checkpoint(tokens, rule) for tokens in DEFAULT_CHECKPOINTS),
        end=rule,
        arguments=Rule(Score(("min_probability",), (1.0,)), Uncalibrated(), DEFAULT_THRESHOLD),
        is_calibrated=False,
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """The frozen rules of one cascade for one version of its student.

    ``score``, ``calibration`` and ``threshold`` judge whole drafts, ``streamed`` those that are
    judged while they are written: two decisions, certified apart.  ``version`` names the policy in
    headers, logs and pairs.  ``is_calibrated`` is False for the default rule, whose confidence is
    an ordering and no probability.
    """

    version: str
    score: Score
    calibration: Calibration
    threshold: Threshold
    is_calibrated: bool = True
    streamed: StreamedRules = field(default_factory=uncalibrated_streamed)

    @property
    def whole(self) -> Rule:
        """The rule for drafts that are judged once they are whole: nothing is left to abort."""
        return Rule(self.score, self.calibration, self.threshold)

    def confidence(self, signals: Signals) -> Confidence | None:
        """Confidence in a whole draft with these signals; None where they do not suffice."""
        return self.whole.confidence(signals)

    @property
    def early_abort(self) -> StreamedRules:
        """The rules for a draft that is served whole, and given up before where it is hopeless."""
        return replace(self.streamed, end=self.whole)

    def with_threshold(self, threshold: Threshold) -> "Policy":
        """The same rules, kept at another confidence."""
        streamed = self.streamed.with_threshold(threshold)
        return replace(self, threshold=threshold, streamed=streamed)


def uncalibrated_default() -> Policy:
    """The rule for a cascade without a policy: the plain average of four signals.

    Mean, minimum, low quantile and margin, each in [0, 1], weigh the same.  One weak token in a
    sure answer pulls three of the four down, which the mean alone would hide.  Nobody has checked
    what 0.8 means for your traffic: fit a policy before you trust the number.
    """
    return Policy(
        version=UNCALIBRATED_VERSION,
        score=_average_of_four(),
        calibration=Uncalibrated(),
        threshold=DEFAULT_THRESHOLD,
        is_calibrated=False,
    )


def _average_of_four() -> Score:
    signals = ("mean_probability", "min_probability", "low_probability", "min_margin")
    return Score(signals=signals, weights=(0.25,) * 4)


def policy_from_document(
    document: object, *, version: str, cascade: str, student_version: str
) -> Policy:
    """Build the policy that a parsed policy file describes.

    ``version`` names the file's content; ``cascade`` and ``student_version`` are those it is to be
    used for.  Raises PolicyError where the document has another schema version, was made for
    another cascade or student version, has a key missing or too many, or a value out of range.
    """
    fields = _mapping(document, "policy", _TOP_KEYS, optional=frozenset({"streamed"}))
    if fields["schema_version"] is True or fields["schema_version"] != SCHEMA_VERSION:
        raise PolicyError(
            f"schema_version: this gateway reads {SCHEMA_VERSION}, the file has "
            f"{fields['schema_version']!r}: fit the policy again with this release"
        )
    for key, wanted in (("cascade", cascade), ("student_version", student_version)):
        if fields[key] != wanted:
            raise PolicyError(
                f"{key}: the policy was fitted for {fields[key]!r}, this cascade is {wanted!r}: "
                "fit a policy for it, or remove `policy` to run uncalibrated"
            )
    _check_evidence(fields)
    for key, form in (("date", _DATE), ("data_sha256", r"[0-9a-f]{64}")):
        value = fields[key]
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise PolicyError(f"{key}: must match {form}, got {value!r}")
    return Policy(
        version=version,
        score=_score(fields["score"]),
        calibration=_calibration(fields["calibration"]),
        threshold=_threshold(fields["threshold"], "threshold"),
        streamed=_streamed(fields["streamed"]) if "streamed" in fields else uncalibrated_streamed(),
    )


def _check_evidence(fields: Mapping[str, object], within: str = "") -> None:
    """Refuse rules that do not say on what evidence they rest."""
    where = f"{within}target"
    target = _mapping(fields["target"], where, frozenset({"kind", "value", "with_probability"}))
    if not isinstance(target["kind"], str):
        raise PolicyError(f"{where}.kind: must be a text, got {target['kind']!r}")
    for key in ("value", "with_probability"):
        _number(target[key], f"{where}.{key}")
    if fields["bound"] is not None:  # None says that no bound was asked for
        _number(fields["bound"], f"{within}bound")
    _count(fields["n"], f"{within}n")


def _streamed(document: object) -> StreamedRules:
    fields = _mapping(document, "streamed", _STREAMED_KEYS)
    _check_evidence(fields, within="streamed.")
    listed = fields["checkpoints"]
    if not isinstance(listed, list):
        raise PolicyError(f"streamed.checkpoints: must be a list of objects, got {listed!r}")
    return StreamedRules(
        checkpoints=tuple(
            _checkpoint(each, f"streamed.checkpoints[{place}]") for place, each in enumerate(listed)
        ),
        end=_rule(_mapping(fields["end"], "streamed.end", _ABORTING_KEYS), "streamed.end"),
        arguments=_rule(
            _mapping(fields["arguments"], "streamed.arguments", _RULE_KEYS), "streamed.arguments"
        ),
    )


def _checkpoint(document: object, path: str) -> Checkpoint:
    fields = _mapping(document, path, _CHECKPOINT_KEYS)
    return Checkpoint(_count(fields["tokens"], f"{path}.tokens"), _rule(fields, path))


def _rule(fields: Mapping[str, object], path: str) -> Rule:
    try:
        return Rule(
            score=_score(fields["score"]),
            calibration=_calibration(fields["calibration"]),
            threshold=_threshold(fields["threshold"], "threshold"),
            abort_below=_threshold(fields.get("abort_below", 0.0), "abort_below"),
        )
    except PolicyError as error:  # it names the key within the rule
        raise type(error)(f"{path}.{error}") from None


def _score(document: object) -> Score:
    fields = _mapping(document, "score", frozenset({"signals", "weights", "intercept"}))
    names = fields["signals"]
    if not isinstance(names, list) or not names:
        raise PolicyError(f"score.signals: must be a list of names, not empty, got {names!r}")
    for place, name in enumerate(names):
        if not isinstance(name, str) or name not in SIGNAL_NAMES:
            raise PolicyError(
                f"score.signals[{place}]: {name!r} is not one of {sorted(SIGNAL_NAMES)}"
            )
    if len(set(names)) != len(names):
        raise PolicyError("score.signals: a name stands there twice")
    weights = _numbers(fields["weights"], "score.weights")
    if len(weights) != len(names):
        raise PolicyError(f"score.weights: {len(names)} signals need as many, got {len(weights)}")
    intercept = _number(fields["intercept"], "score.intercept")
    # No signal exceeds 1, so this bounds every score; an infinite one has no confidence.
    if sum(map(abs, weights)) + abs(intercept) > _LARGEST:
        raise PolicyError("score.weights: with the intercept they add up to more than floats reach")
    return Score(tuple(names), weights, intercept)


def _calibration(document: object) -> Calibration:
    if not isinstance(document, Mapping):
        raise PolicyError(f"calibration: must be an object, got {document!r}")
    match document.get("kind"):
        case "logistic":
            fields = _mapping(document, "calibration", frozenset({"kind", "slope", "intercept"}))
            return Logistic(
                slope=_number(fields["slope"], "calibration.slope"),
                intercept=_number(fields["intercept"], "calibration.intercept"),
            )
        case "piecewise_linear":
            keys = frozenset({"kind", "scores", "confidences"})
            fields = _mapping(document, "calibration", keys)
            return PiecewiseLinear(
                scores=_numbers(fields["scores"], "calibration.scores"),
                confidences=_numbers(fields["confidences"], "calibration.confidences"),
            )
        case kind:
            raise PolicyError(
                f"calibration.kind: must be 'logistic' or 'piecewise_linear', got {kind!r}"
            )


def _mapping(
    document: object, path: str, keys: frozenset[str], optional: frozenset[str] = frozenset()
) -> Mapping[str, object]:
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    if missing := sorted(keys - document.keys()):
        raise PolicyError(f"{path}: lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in document.keys() - keys - optional):
        raise PolicyError(f"{path}: has unknown keys: {', '.join(unknown)}")
    return document


def _threshold(value: object, path: str) -> Threshold:
    number = _number(value, path)
    if not 0.0 <= number <= 1.0:
        raise PolicyError(f"{path}: must lie in [0, 1], got {number!r}")
    return Threshold(number)


def _count(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(f"{path}: must be a whole number of at least 1, got {value!r}")
    return value


def _number(value: object, path: str) -> float:
    # JSON's whole numbers may be longer than floats reach; NaN fails this comparison too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise PolicyError(f"{path}: must be a finite number, got {value!r}")
    return float(value)


def _numbers(values: object, path: str) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise PolicyError(f"{path}: must be a list of numbers, got {values!r}")
    return tuple(_number(value, f"{path}[{place}]") for place, value in enumerate(values))
