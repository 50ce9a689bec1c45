"""The policy file: its JSON, already parsed, to a policy and back.  Nothing here opens the file.

What it does not know it refuses, by its path in the file and with what to do about it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from routing.document import count, mapping, named, number
from routing.errors import PolicyError
from routing.model import Score
from routing.model_file import (
    calibration_document,
    check_group,
    model_document,
    prompt_model_document,
    read_calibration,
    read_learnt,
    read_prompt_model,
    read_score,
)
from routing.policy import (
    NEVER,
    Checkpoint,
    Policy,
    PromptRule,
    Rule,
    StreamedRules,
    uncalibrated_streamed,
)
from routing.promise.head_start import head_start_document, head_start_from_document
from routing.promise.terms import HeadStart
from routing.sampling import MAX_SAMPLES, SAMPLING_NAMES, Sampling, effective_sampling
from routing.vocabulary import Threshold

SCHEMA_VERSION = 2

_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_BASIS_KEYS = frozenset({"target", "bound", "n"})
_TOP_KEYS = _BASIS_KEYS | {
    "schema_version", "cascade", "student_version", "sampling", "rule", "threshold",
    "date", "data_sha256",
}  # fmt: skip
_OPTIONAL_KEYS = frozenset({"prompt", "samples", "streamed", "head_start", "evidence"})
_RULE_KEYS = frozenset({"calibration"})
_RULE_OPTIONS = frozenset({"score", "model", "by_group", "gain"})


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised: of what ``kind``, how much, and with which probability."""

    kind: str
    value: float
    with_probability: float


@dataclass(frozen=True, slots=True)
class Basis:
    """On what a threshold rests: the promise, its bound (None where none was asked for), and n."""

    target: Target
    bound: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a policy comes from, as its file says; the gateway decides nothing by it.

    ``date`` is a day as in 2026-11-30, ``data_sha256`` names the records.  ``streamed`` is the
    basis of the rules for streams, None where they are the default.  ``head_start`` has what its
    records prove of an objective of quality, where there is one.  ``evidence`` is whatever else
    ``understudy explain`` shows.
    """

    cascade: str
    student_version: str
    basis: Basis
    date: str
    data_sha256: str
    streamed: Basis | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    head_start: HeadStart | None = None


def policy_from_document(
    document: object, *, version: str, cascade: str, student_version: str
) -> Policy:
    """Build the policy that a parsed policy file describes.

    ``version`` names the file's content; ``cascade`` and ``student_version`` are those it is to be
    used for.  Raises PolicyError where the document has another schema version, was made for
    another cascade or student version, has a key missing or too many, or a value out of range.
    """
    _check_schema(document, _fit_again(cascade, student_version))
    fields = mapping(document, "policy", _TOP_KEYS, _OPTIONAL_KEYS)
    for key, wanted in (("cascade", cascade), ("student_version", student_version)):
        if fields[key] != wanted:
            raise PolicyError(
                f"{key}: the policy was fitted for {fields[key]!r}, this cascade is {wanted!r}: "
                f"{_fit_again(cascade, student_version)}, or remove `policy` to run uncalibrated"
            )
    _read_origin(fields)
    return Policy(
        version=version,
        whole=_read_rule(fields["rule"], "rule", _threshold(fields["threshold"], "threshold")),
        streamed=_streamed(fields["streamed"]) if "streamed" in fields else uncalibrated_streamed(),
        prompt=_prompt(fields.get("prompt")),
        sampling=_sampling(fields["sampling"]),
        samples=count(fields.get("samples", 1), "samples", most=MAX_SAMPLES),
    )


def _fit_again(cascade: str, student_version: str) -> str:
    return (
        "fit one on records of this student, `understudy calibrate RECORDS --cascade "
        f"{cascade} --student-version {student_version} --target quality=0.99 --out policy.json`"
    )


def _check_schema(document: object, what_to_do: str) -> None:
    if not isinstance(document, Mapping) or "schema_version" not in document:
        return  # which is said of the whole document
    found = document["schema_version"]
    if isinstance(found, bool) or found != SCHEMA_VERSION:
        raise PolicyError(
            f"schema_version: this gateway reads {SCHEMA_VERSION}, the file has {found!r}: "
            f"{what_to_do}"
        )


def origin_from_document(document: object) -> Origin:
    """Where the policy comes from that a parsed policy file describes.  Raises PolicyError."""
    again = "fit the policy again with this release, `understudy calibrate --help`"
    _check_schema(document, again)
    return _read_origin(mapping(document, "policy", _TOP_KEYS, _OPTIONAL_KEYS))


def _read_origin(fields: Mapping[str, object]) -> Origin:
    texts = {}
    for key, form in (
        ("cascade", r".+"),
        ("student_version", r".+"),
        ("date", _DATE),
        ("data_sha256", r"[0-9a-f]{64}"),
    ):
        value = fields[key]
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise PolicyError(f"{key}: must match {form}, got {value!r}")
        texts[key] = value
    streamed = fields.get("streamed")
    return Origin(
        **texts,
        basis=_basis(fields),
        streamed=_basis(streamed, "streamed.") if isinstance(streamed, Mapping) else None,
        evidence=named(fields.get("evidence", {}), "evidence"),
        head_start=(
            head_start_from_document(fields["head_start"]) if "head_start" in fields else None
        ),
    )


def _basis(fields: Mapping[str, object], within: str = "") -> Basis:
    """Refuse rules that do not say on what they rest."""
    missing = sorted(_BASIS_KEYS - fields.keys())
    if missing:
        raise PolicyError(f"{within.rstrip('.')}: lacks {', '.join(missing)}")
    where, bound = f"{within}target", fields["bound"]
    target = mapping(fields["target"], where, frozenset({"kind", "value", "with_probability"}))
    kind = target["kind"]
    if not isinstance(kind, str):
        raise PolicyError(f"{where}.kind: must be a text, got {kind!r}")
    return Basis(
        target=Target(
            kind=kind,
            value=number(target["value"], f"{where}.value"),
            with_probability=number(target["with_probability"], f"{where}.with_probability"),
        ),
        bound=None if bound is None else number(bound, f"{within}bound"),
        n=count(fields["n"], f"{within}n"),
    )


def _streamed(document: object) -> StreamedRules:
    required = _BASIS_KEYS | {"checkpoints", "end", "arguments"}
    fields = mapping(document, "streamed", required, frozenset({"hold_tokens"}))
    _basis(fields, within="streamed.")
    listed = fields["checkpoints"]
    if not isinstance(listed, list):
        raise PolicyError(f"streamed.checkpoints: must be a list of objects, got {listed!r}")
    return StreamedRules(
        checkpoints=tuple(
            _checkpoint(each, f"streamed.checkpoints[{place}]") for place, each in enumerate(listed)
        ),
        end=_bounded(fields["end"], "streamed.end", frozenset({"abort_below"})),
        arguments=_bounded(fields["arguments"], "streamed.arguments", frozenset()),
        hold_tokens=(
            count(fields["hold_tokens"], "streamed.hold_tokens")
            if "hold_tokens" in fields
            else None
        ),
    )


def _checkpoint(document: object, path: str) -> Checkpoint:
    rule = _bounded(document, path, frozenset({"abort_below", "tokens"}))
    fields = document if isinstance(document, Mapping) else {}
    return Checkpoint(count(fields["tokens"], f"{path}.tokens"), rule)


def _bounded(document: object, path: str, more: frozenset[str]) -> Rule:
    """A rule with its bounds beside it."""
    fields = mapping(document, path, more | {"rule", "threshold"})
    threshold = _threshold(fields["threshold"], f"{path}.threshold")
    abort_below = _threshold(fields.get("abort_below", 0.0), f"{path}.abort_below")
    if abort_below.value > threshold.value:
        raise PolicyError(f"{path}.abort_below: must be at most the threshold beside it")
    return _read_rule(fields["rule"], f"{path}.rule", threshold, abort_below)


def _read_rule(
    document: object, path: str, threshold: Threshold, abort_below: Threshold = NEVER
) -> Rule:
    fields = mapping(document, path, _RULE_KEYS, _RULE_OPTIONS)
    if ("score" in fields) == ("model" in fields):
        raise PolicyError(f"{path}: needs one of score and model")
    groups = named(fields.get("by_group", {}), f"{path}.by_group")
    for group in groups:
        check_group(group, f"{path}.by_group")
    gain = fields.get("gain")
    score = (
        read_score(fields["score"], f"{path}.score")
        if "score" in fields
        else read_learnt(fields["model"], f"{path}.model")
    )
    calibration = read_calibration(fields["calibration"], f"{path}.calibration")
    by_group = {
        group: read_calibration(each, f"{path}.by_group.{group}") for group, each in groups.items()
    }
    learnt = None if gain is None else read_learnt(gain, f"{path}.gain")
    try:
        return Rule(score, calibration, threshold, abort_below, by_group=by_group, gain=learnt)
    except PolicyError as error:  # it says what is wrong with the parts together
        raise PolicyError(f"{path}: {error}") from None


def _prompt(document: object) -> PromptRule | None:
    if document is None:
        return None
    fields = mapping(document, "prompt", frozenset({"model", "margin"}))
    return PromptRule(
        model=read_prompt_model(fields["model"], "prompt.model"),
        margin=number(fields["margin"], "prompt.margin"),
    )


def _sampling(document: object) -> Sampling | None:
    if document is None:
        return None
    fields = mapping(document, "sampling", frozenset(), SAMPLING_NAMES)
    for name, value in fields.items():
        if name == "logit_bias":
            for token, bias in named(value, "sampling.logit_bias").items():
                number(bias, f"sampling.logit_bias.{token}")
        elif value is not None:
            number(value, f"sampling.{name}")
    return effective_sampling(fields)


def _threshold(value: object, path: str) -> Threshold:
    found = number(value, path)
    if not 0.0 <= found <= 1.0:
        raise PolicyError(f"{path}: must lie in [0, 1], got {found!r}")
    return Threshold(found)


# --- writing ---


def policy_document(policy: Policy, origin: Origin) -> dict[str, object]:
    """The document that ``policy_from_document`` reads, ready for JSON.

    Rules for streams are written where ``origin`` has a basis for them.  Raises PolicyError where
    there is one and the rules are the uncalibrated default, or the other way round: nothing is to
    be written that nobody has checked.
    """
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "cascade": origin.cascade,
        "student_version": origin.student_version,
        "sampling": None if policy.sampling is None else dict(policy.sampling),
        "rule": _rule_document(policy.whole),
        "threshold": policy.threshold.value,
        **_basis_document(origin.basis),
        "date": origin.date,
        "data_sha256": origin.data_sha256,
    }
    if policy.samples > 1:
        document["samples"] = policy.samples
    if policy.prompt is not None:
        model = prompt_model_document(policy.prompt.model)
        document["prompt"] = {"model": model, "margin": policy.prompt.margin}
    if (origin.streamed is not None) is not policy.streamed.is_calibrated:
        raise PolicyError("streamed: rules and the basis they rest on go together")
    if origin.streamed is not None:
        document["streamed"] = _streamed_document(policy.streamed, origin.streamed)
    if origin.head_start is not None:
        document["head_start"] = head_start_document(origin.head_start)
    if origin.evidence:
        document["evidence"] = dict(origin.evidence)
    return document


def _basis_document(basis: Basis) -> dict[str, object]:
    target = basis.target
    return {
        "target": {
            "kind": target.kind,
            "value": target.value,
            "with_probability": target.with_probability,
        },
        "bound": basis.bound,
        "n": basis.n,
    }


def _streamed_document(streamed: StreamedRules, basis: Basis) -> dict[str, object]:
    return {
        "checkpoints": [
            {"tokens": each.tokens, **_bounded_document(each.rule)} for each in streamed.checkpoints
        ],
        "end": _bounded_document(streamed.end),
        "arguments": {
            "rule": _rule_document(streamed.arguments),
            "threshold": streamed.arguments.threshold.value,
        },
        **({} if streamed.hold_tokens is None else {"hold_tokens": streamed.hold_tokens}),
        **_basis_document(basis),
    }


def _bounded_document(rule: Rule) -> dict[str, object]:
    return {
        "rule": _rule_document(rule),
        "threshold": rule.threshold.value,
        "abort_below": rule.abort_below.value,
    }


def _rule_document(rule: Rule) -> dict[str, object]:
    kind = "score" if isinstance(rule.score, Score) else "model"
    document: dict[str, object] = {
        kind: model_document(rule.score),
        "calibration": calibration_document(rule.calibration),
    }
    if rule.by_group:
        document["by_group"] = {
            group: calibration_document(each) for group, each in rule.by_group.items()
        }
    if rule.gain is not None:
        document["gain"] = model_document(rule.gain)
    return document
