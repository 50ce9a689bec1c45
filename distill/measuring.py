"""From two files of records to an evaluation: read, fit where asked to, decide, compare."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.comparison import Arm, Comparison, Decided, decide, forgetting, teacher_alone
from distill.evaluation_file import (
    CONFIDENCE,
    SCHEMA_VERSION,
    TEACHER_ANSWERS,
    USD,
    Evaluation,
    Forgetting,
    Measured,
    Teacher,
)
from distill.fitting import (
    Fit,
    PolicyFile,
    Progress,
    fit_policy,
    read_policy,
    refuse_flattered,
    refuse_other_student,
)
from distill.halves import is_to_measure
from distill.pairing import Chosen, Pairing, Side, everything, missing_costs, pair
from evaluation.bounds import Refused
from evaluation.errors import EvaluationError
from evaluation.paired import Drawing
from evaluation.records import read_records
from evaluation.spending import Costs
from evaluation.targets import Kind, Target
from routing import Policy, Threshold
from routing.policy import uncalibrated_default

UNKNOWN_RATIO = 20.0  # of the teacher's price to the student's, where nobody tells it


@dataclass(frozen=True, slots=True)
class Files:
    """Whose records, and the policy file that each cascade decides by; None is to be fitted.

    ``incumbent_threshold`` is the confidence from which an incumbent without a policy keeps its
    drafts, by the uncalibrated default; None where it has one, or is to be fitted one.
    """

    candidate: Path
    incumbent: Path
    candidate_policy: Path | None = None
    incumbent_policy: Path | None = None
    incumbent_threshold: float | None = None
    general_candidate: Path | None = None
    general_incumbent: Path | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured, and how.

    ``target`` is of quality: what fitted policies promise, and where bills are compared.
    ``cascade`` is needed where policies are fitted and no policy file names it.  ``price_ratio`` is
    the teacher's price for a request over the student's, None where the records tell costs.
    ``made_at`` is in ISO 8601, UTC.
    """

    files: Files
    target: Target
    made_at: str
    is_fit: bool = False
    cascade: str | None = None
    hold_tokens: int = 16
    price_ratio: float | None = None
    rounds: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was measured, and the content of the candidate's policy file."""

    evaluation: Evaluation
    comparison: Comparison
    policy: bytes


def measure(wanted: Wanted, progress: Progress) -> Found | Refused:
    """Measure both cascades.  Refused: no policy of the candidate's holds the target.

    Raises EvaluationError where files or options are of no use.
    """
    _refuse_options(wanted)
    progress("reading")
    chosen: Chosen = is_to_measure if wanted.is_fit else everything
    pairing = pair(wanted.files.candidate, wanted.files.incumbent, chosen)
    old = _incumbents(wanted, pairing, progress)
    new = _policy_of(wanted, pairing, pairing.candidate, wanted.files.candidate_policy, progress)
    if isinstance(new, Refused):
        return new
    policies = (new, None if isinstance(old, Refused) else old)
    _refuse_other_cascades(*policies)
    progress("deciding")
    arms = [
        _arm(pairing, side, policy, chosen, wanted.price_ratio)
        for side, policy in zip((pairing.candidate, pairing.incumbent), policies, strict=True)
    ]
    drawing = Drawing(wanted.rounds, wanted.seed, CONFIDENCE)
    comparison = Comparison(pairing, arms[0], arms[1], drawing)
    forgotten = _forgotten(wanted, policies, drawing)
    progress(f"{wanted.rounds} resamples of {pairing.n} records")
    evaluation = _evaluation(wanted, comparison, policies, forgotten, _notes(pairing, old))
    return Found(evaluation, comparison, new.content)


def _evaluation(
    wanted: Wanted,
    comparison: Comparison,
    policies: tuple[PolicyFile, PolicyFile | Policy | None],
    forgotten: Forgetting | None,
    notes: tuple[str, ...],
) -> Evaluation:
    pairing = comparison.pairing
    weight = pairing.sample.weight
    alone, difference, groups = comparison.quality()
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        made_at=wanted.made_at,
        confidence=CONFIDENCE,
        rounds=wanted.rounds,
        seed=wanted.seed,
        unit=USD if wanted.price_ratio is None else TEACHER_ANSWERS,
        records=pairing.n,
        questions=pairing.sample.questions,
        worth=pairing.sample.worth(np.ones(pairing.n)),
        candidate=_measured(pairing.candidate, policies[0]),
        incumbent=_measured(pairing.incumbent, policies[1]),
        teacher=Teacher(
            quality=float(np.average(pairing.teacher, weights=weight)),
            cost_per_request=float(np.average(comparison.candidate.costs.teacher, weights=weight)),
            assumed=int(pairing.assumed.sum()),
        ),
        groups=groups,
        alone=alone,
        cascade=comparison.cascades(difference, wanted.target.value),
        forgetting=forgotten,
        notes=notes,
    )


def _refuse_options(wanted: Wanted) -> None:
    files = wanted.files
    if wanted.target.kind is not Kind.QUALITY:
        raise EvaluationError(f"target: bills are compared at equal quality, got {wanted.target}")
    if wanted.is_fit and files.candidate_policy is not None:
        raise EvaluationError("--fit fits the candidate's policy: name no --candidate-policy")
    has_threshold = files.incumbent_threshold is not None
    if has_threshold and files.incumbent_policy is not None:
        raise EvaluationError(
            "--incumbent-uncalibrated says that it serves without a policy: leave out "
            "--incumbent-policy"
        )
    incumbents = files.incumbent_threshold if has_threshold else files.incumbent_policy
    if not wanted.is_fit and None in (files.candidate_policy, incumbents):
        raise EvaluationError(
            "each cascade is measured by its own policy: name --candidate-policy and "
            "--incumbent-policy, or let --fit fit what is missing"
        )
    if (files.general_candidate is None) is not (files.general_incumbent is None):
        raise EvaluationError(
            "a general set takes the records of both: --general-candidate and --general-incumbent"
        )


def _incumbents(
    wanted: Wanted, pairing: Pairing, progress: Progress
) -> PolicyFile | Policy | Refused:
    """What the incumbent decides by."""
    files = wanted.files
    if files.incumbent_threshold is None:
        return _policy_of(wanted, pairing, pairing.incumbent, files.incumbent_policy, progress)
    return uncalibrated_default().with_threshold(Threshold(files.incumbent_threshold))


def _policy_of(
    wanted: Wanted, pairing: Pairing, side: Side, path: Path | None, progress: Progress
) -> PolicyFile | Refused:
    if path is None:
        fit = Fit(
            target=wanted.target,
            cascade=_cascade(wanted),
            date=wanted.made_at[:10],
            price_ratio=_ratio(wanted.price_ratio, pairing, side),
            hold_tokens=wanted.hold_tokens,
            seed=wanted.seed,
        )
        return fit_policy(side.path, side.version, fit, progress)
    found = read_policy(path)
    refuse_other_student(found, side.version)
    refuse_flattered(found, side.path, is_half=wanted.is_fit)
    return found


def _cascade(wanted: Wanted) -> str:
    if wanted.cascade is not None:
        return wanted.cascade
    if wanted.files.incumbent_policy is not None:
        return read_policy(wanted.files.incumbent_policy).origin.cascade
    raise EvaluationError("a policy is for one cascade: name it with --cascade")


def _ratio(given: float | None, pairing: Pairing, side: Side) -> float:
    """The teacher's price over the student's, for the fit."""
    weight = pairing.sample.weight
    draft = float(np.average(side.columns.student_usd, weights=weight))
    answer = float(np.average(pairing.teacher_usd, weights=weight))
    if given is not None or not draft > 0.0 or not answer > 0.0:
        return given or UNKNOWN_RATIO
    return answer / draft


def _refuse_other_cascades(new: PolicyFile, old: PolicyFile | Policy | None) -> None:
    if isinstance(old, PolicyFile) and new.origin.cascade != old.origin.cascade:
        raise EvaluationError(
            f"the candidate's policy is for the cascade {new.origin.cascade!r}, and the "
            f"incumbent's for {old.origin.cascade!r}"
        )


def _arm(
    pairing: Pairing,
    side: Side,
    policy: PolicyFile | Policy | None,
    chosen: Chosen,
    ratio: float | None,
) -> Arm:
    decided = _decided(policy, side, chosen, pairing.n)
    if ratio is not None:
        draft = np.full(pairing.n, decided.samples / ratio)
        return Arm(side, decided, Costs(draft, np.ones(pairing.n)))
    if missing := "; ".join(missing_costs(pairing)):
        raise EvaluationError(
            f"{missing}: say what a teacher's answer costs in student's answers, --price-ratio"
        )
    return Arm(side, decided, Costs(side.columns.student_usd, pairing.teacher_usd))


def _decided(policy: PolicyFile | Policy | None, side: Side, chosen: Chosen, n: int) -> Decided:
    if policy is None:
        return teacher_alone(n)
    rule = policy.policy if isinstance(policy, PolicyFile) else policy
    return decide(rule, filter(chosen, read_records(side.path)), side)


def _forgotten(
    wanted: Wanted, policies: tuple[PolicyFile, PolicyFile | Policy | None], drawing: Drawing
) -> Forgetting | None:
    files = wanted.files
    if files.general_candidate is None or files.general_incumbent is None:
        return None
    pairing = pair(files.general_candidate, files.general_incumbent)
    found = []
    for side, policy in zip((pairing.candidate, pairing.incumbent), policies, strict=True):
        if isinstance(policy, PolicyFile):
            refuse_other_student(policy, side.version)
            refuse_flattered(policy, side.path, is_half=False)
        found.append(_decided(policy, side, everything, pairing.n))
    return forgetting(pairing, found[0], found[1], drawing)


def _measured(side: Side, policy: PolicyFile | Policy | None) -> Measured:
    file = policy if isinstance(policy, PolicyFile) else None
    rule = policy.policy if isinstance(policy, PolicyFile) else policy
    return Measured(
        version=side.version,
        records_sha256=side.sha256,
        policy_sha256=None if file is None else file.sha256,
        policy_version=None if policy is None else policy.version,
        generation_policy=None if file is None else file.as_generations,
        threshold=None if rule is None else rule.threshold.value,
        is_fitted_here=file is not None and file.is_fitted_here,
    )


def _notes(pairing: Pairing, old: PolicyFile | Policy | Refused) -> tuple[str, ...]:
    """What a reader should know besides."""
    found = []
    if isinstance(old, Refused):
        found.append(
            f"No policy of the incumbent's holds the target: {old}.  The candidate is compared "
            "with the teacher alone."
        )
    if assumed := int(pairing.assumed.sum()):
        found.append(
            f"In {assumed} records nobody asked the teacher, which is taken to be right: the "
            "quality is about right answers and not about the teacher."
        )
    if pairing.sample.questions < pairing.n:
        found.append(
            f"{pairing.n} records ask {pairing.sample.questions} different questions: all records "
            "of one are drawn together."
        )
    return tuple(found)
