"""All that one cascade needs to decide: which signals, how they add up, what they mean, how much.

``policy_from_document`` reads the policy file's JSON, already parsed, and refuses what it does not
know.  Nothing here opens the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from routing.calibration import Calibration, Logistic, PiecewiseLinear, Uncalibrated
from routing.errors import PolicyError
from routing.signals import SIGNAL_NAMES, Signals
from routing.vocabulary import Confidence, Threshold

SCHEMA_VERSION = 1
UNCALIBRATED_VERSION = "uncalibrated"
DEFAULT_THRESHOLD = Threshold(0.8)

_LARGEST = math.nextafter(math.inf, 0.0)
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"

_TOP_KEYS = frozenset(
    {"schema_version", "cascade", "student_version", "score", "calibration", "threshold"}
    | {"target", "bound", "n", "date", "data_sha256"}
)


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
class Policy:
    """The frozen rule of one cascade for one version of its student.

    ``version`` names it in headers, logs and pairs.  ``is_calibrated`` is False for the default
    rule, whose confidence is an ordering and no probability.
    """

    version: str
    score: Score
    calibration: Calibration
    threshold: Threshold
    is_calibrated: bool = True

    def confidence(self, signals: Signals) -> Confidence | None:
        """Confidence in a draft with these signals; None where they do not suffice."""
        score = self.score.of(signals)
        return None if score is None else self.calibration.confidence(score)

    def with_threshold(self, threshold: Threshold) -> "Policy":
        """The same rule, kept at another confidence."""
        return replace(self, threshold=threshold)


def uncalibrated_default() -> Policy:
    """The rule for a cascade without a policy: the plain average of four signals.

    Mean, minimum, low quantile and margin, each in [0, 1], weigh the same.  One weak token in a
    sure answer pulls three of the four down, which the mean alone would hide.  Nobody has checked
    what 0.8 means for your traffic: fit a policy before you trust the number.
    """
    signals = ("mean_probability", "min_probability", "low_probability", "min_margin")
    return Policy(
        version=UNCALIBRATED_VERSION,
        score=Score(signals=signals, weights=(0.25,) * 4),
        calibration=Uncalibrated(),
        threshold=DEFAULT_THRESHOLD,
        is_calibrated=False,
    )


def policy_from_document(
    document: object, *, version: str, cascade: str, student_version: str
) -> Policy:
    """Build the policy that a parsed policy file describes.

    ``version`` names the file's content; ``cascade`` and ``student_version`` are those it is to be
    used for.  Raises PolicyError where the document has another schema version, was made for
    another cascade or student version, has a key missing or too many, or a value out of range.
    """
    fields = _mapping(document, "policy", _TOP_KEYS)
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
    threshold = _number(fields["threshold"], "threshold")
    if not 0.0 <= threshold <= 1.0:
        raise PolicyError(f"threshold: must lie in [0, 1], got {threshold!r}")
    return Policy(
        version=version,
        score=_score(fields["score"]),
        calibration=_calibration(fields["calibration"]),
        threshold=Threshold(threshold),
    )


def _check_evidence(fields: Mapping[str, object]) -> None:
    """Refuse a file that does not say on what evidence it rests."""
    target = _mapping(fields["target"], "target", frozenset({"kind", "value", "with_probability"}))
    if not isinstance(target["kind"], str):
        raise PolicyError(f"target.kind: must be a text, got {target['kind']!r}")
    for key in ("value", "with_probability"):
        _number(target[key], f"target.{key}")
    if fields["bound"] is not None:  # None says that no bound was asked for
        _number(fields["bound"], "bound")
    n = fields["n"]
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise PolicyError(f"n: must be a whole number of at least 1, got {n!r}")
    for key, form in (("date", _DATE), ("data_sha256", r"[0-9a-f]{64}")):
        value = fields[key]
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise PolicyError(f"{key}: must match {form}, got {value!r}")


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


def _mapping(document: object, path: str, keys: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    if missing := sorted(keys - document.keys()):
        raise PolicyError(f"{path}: lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in document.keys() - keys):
        raise PolicyError(f"{path}: has unknown keys: {', '.join(unknown)}")
    return document


def _number(value: object, path: str) -> float:
    # JSON's whole numbers may be longer than floats reach; NaN fails this comparison too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise PolicyError(f"{path}: must be a finite number, got {value!r}")
    return float(value)


def _numbers(values: object, path: str) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise PolicyError(f"{path}: must be a list of numbers, got {values!r}")
    return tuple(_number(value, f"{path}[{place}]") for place, value in enumerate(values))
