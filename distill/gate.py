"""The gate: may this candidate be tried on traffic?  Decided from ``evaluation.json`` alone.

What is asked of a candidate, each with 95% confidence:

- in all, and on every group that holds enough records, its cascade's quality is not worse than the
  incumbent's by more than ``margin``;
- its bill, at the policies as they are, is lower;
- of what the incumbent kept rightly on a general set, it breaks no more than ``forgetting``.

**Several groups.**  A candidate passes only where every one of these tests rejects "it is worse by
more than the margin".  The hypothesis that it is worse on at least one group is the union of the
groups' hypotheses, and the test that rejects all of them has the level of a single one, whatever
their number and however they depend on each other: an intersection-union test (Berger 1982,
"Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 295-300).  So each
group is tested at 5% and nothing is divided by their number; what grows with it is the chance that
a good candidate is refused.

**Small groups.**  Below ``least_worth(margin)`` records not even a group without a single loss can
show that it is within the margin.  Such groups are named and judged together where together they
hold enough, and in all; alone, each of them refuses the candidate only where it shows harm: where
the difference is worse than the margin with 95% confidence.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from distill.evaluation_file import CONFIDENCE, Estimate, Evaluation, Group
from routing import PolicyError, policy_from_document

MARGIN = 0.02
FORGETTING = 0.05
MOST_AGE_DAYS = 30.0

_NAMED_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse is still good enough.

    ``margin`` is the quality, in [0, 1], that may be lost against the incumbent's cascade, in all
    and on each group.  ``forgetting`` is the share that may break of what the incumbent kept
    rightly on a general set.  ``most_age_days`` is how old an evaluation may be.
    """

    margin: float = MARGIN
    forgetting: float = FORGETTING
    most_age_days: float = MOST_AGE_DAYS

    def __post_init__(self) -> None:
        for name in ("margin", "forgetting"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name}: must lie in (0, 1), got {getattr(self, name)!r}")
        if not self.most_age_days > 0.0:
            raise ValueError(f"most_age_days: must be positive, got {self.most_age_days!r}")


@dataclass(frozen=True, slots=True)
class Serving:
    """What the incumbent decides by: the name of its policy, and the merit that it keeps from."""

    policy: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be let in: the candidate's version, its policy file, and who serves now.

    ``serving`` is None where nobody can know what decides there now: before anything is promoted.
    """

    version: str
    policy: bytes
    incumbent: str
    serving: Serving | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked, whether it is so, and the numbers in a sentence."""

    name: str
    passed: bool
    why: str


def check(
    evaluation: Evaluation, proposal: Proposal, now: datetime, limits: Limits | None = None
) -> tuple[Check, ...]:
    """Everything that is asked of a candidate; it may be tried where all of it is passed.

    ``now`` has a time zone.
    """
    limits = limits or Limits()
    return (
        _student(evaluation, proposal),
        _policy(evaluation, proposal),
        _incumbent(evaluation, proposal),
        _age(evaluation, now, limits),
        _enough(evaluation, limits),
        _quality(evaluation, limits),
        *_groups(evaluation, limits),
        _bill(evaluation),
        _forgetting(evaluation, limits),
    )


def is_open(checks: Sequence[Check]) -> bool:
    """Whether the candidate may be tried."""
    return all(each.passed for each in checks)


def least_worth(margin: float) -> int:
    """The fewest records with which a candidate that never loses is shown to be within ``margin``.

    With fewer, one that loses a share ``margin`` of all requests would show no loss more often than
    one time in twenty.
    """
    return math.ceil(math.log(1.0 - CONFIDENCE) / math.log1p(-margin))


# --- is it the one that was measured? -----------------------------------------------------------


def _student(evaluation: Evaluation, proposal: Proposal) -> Check:
    measured = evaluation.candidate.version
    if measured == proposal.version:
        return Check("student", True, f"every record is of the candidate {measured}")
    why = f"the records are of {measured}, and the candidate is {proposal.version}"
    return Check("student", False, why)


def _policy(evaluation: Evaluation, proposal: Proposal) -> Check:
    measured = evaluation.candidate.policy_sha256
    found = hashlib.sha256(proposal.policy).hexdigest()
    try:
        document = json.loads(proposal.policy)
        cascade = document.get("cascade") if isinstance(document, dict) else None
        policy_from_document(
            document, version=found[:12], cascade=str(cascade), student_version=proposal.version
        )
    except (ValueError, RecursionError, PolicyError) as error:
        return Check("policy", False, f"the policy cannot serve {proposal.version}: {error}")
    if found != measured:
        was = "none" if measured is None else measured[:12]
        why = f"the policy is {found[:12]}, and the one that was measured is {was}"
        return Check("policy", False, why)
    return Check("policy", True, f"the policy {found[:12]} is for this student and was measured")


def _incumbent(evaluation: Evaluation, proposal: Proposal) -> Check:
    measured, serving = evaluation.incumbent, proposal.serving
    told = f"it was compared with {measured.version}"
    if measured.version != proposal.incumbent:
        return Check("incumbent", False, f"{told}, and {proposal.incumbent} serves now")
    if serving is None:
        return Check("incumbent", True, f"{told}, which serves now")
    if serving.policy not in (measured.policy_version, measured.generation_policy):
        told += f" by the policy {measured.policy_version or 'of none, the teacher alone'}"
        return Check("incumbent", False, f"{told}, and it serves by {serving.policy} now")
    if serving.threshold != measured.threshold:
        told += f" keeping drafts from {measured.threshold} on"
        return Check("incumbent", False, f"{told}, and it keeps them from {serving.threshold} on")
    return Check("incumbent", True, f"{told}, which serves now, by the same policy")


def _age(evaluation: Evaluation, now: datetime, limits: Limits) -> Check:
    try:
        age = now - datetime.fromisoformat(evaluation.made_at)
    except (ValueError, TypeError) as error:
        return Check("age", False, f"made_at: {evaluation.made_at!r} is no time: {error}")
    days = age / timedelta(days=1)
    if days < 0.0:
        return Check("age", False, f"it was measured at {evaluation.made_at}, which is to come")
    why = f"it was measured {days:.1f} days ago, at most {limits.most_age_days:g} are allowed"
    return Check("age", days <= limits.most_age_days, why)


# --- is it good enough? ---------------------------------------------------------------------------


def _enough(evaluation: Evaluation, limits: Limits) -> Check:
    least = least_worth(limits.margin)
    why = f"{evaluation.records} records, worth {evaluation.worth:.0f} independent ones of equal "
    why += f"weight; fewer than {least} cannot show that {limits.margin:g} of quality is not lost"
    return Check("records", evaluation.worth >= least, why)


def _quality(evaluation: Evaluation, limits: Limits) -> Check:
    cascade = evaluation.cascade
    told = _told(cascade.difference, cascade.candidate.quality, cascade.incumbent.quality)
    return Check("quality", *_is_held(cascade.difference, told, limits))


def _groups(evaluation: Evaluation, limits: Limits) -> Iterator[Check]:
    least = least_worth(limits.margin)
    small = {name: each for name, each in evaluation.groups.items() if each.worth < least}
    for name, group in evaluation.groups.items():
        if name not in small:
            told = _told(group.difference, group.candidate, group.incumbent)
            yield Check(f"quality of {name}", *_is_held(group.difference, told, limits))
    if not evaluation.groups:
        yield Check("groups", True, "no record names a group: quality is judged in all alone")
    if small:
        yield _small_groups(small, limits)


def _is_held(difference: Estimate, told: str, limits: Limits) -> tuple[bool, str]:
    """Whether no more than the margin is lost, and how to say so."""
    if difference.low >= -limits.margin:
        return True, f"{told}: within the margin of {limits.margin:g}"
    return False, f"{told}: may be worse by more than the margin of {limits.margin:g}"


def _small_groups(small: dict[str, Group], limits: Limits) -> Check:
    least = least_worth(limits.margin)
    told = _listed([f"{name} ({each.records})" for name, each in small.items()])
    told = f"too few records to be judged alone, below {least}: {told}"
    harmed = {name: each for name, each in small.items() if each.difference.high < -limits.margin}
    if harmed:
        worse = [
            f"{name} ({_told(each.difference, each.candidate, each.incumbent)})"
            for name, each in harmed.items()
        ]
        return Check("small groups", False, f"{told}; shown to be worse: {_listed(worse)}")
    together = max(small.values(), key=lambda each: each.worth_with_smaller)
    if together.worth_with_smaller < least:
        why = f"{told}; too few together too: they are judged in all, and none is shown to be worse"
        return Check("small groups", True, why)
    held, why = _is_held(together.with_smaller, _difference(together.with_smaller), limits)
    return Check("small groups", held, f"{told}; together {why}; none alone is shown to be worse")


def _bill(evaluation: Evaluation) -> Check:
    bill = evaluation.cascade.bill
    if bill is None:
        return Check("bill", False, "nothing was paid for the incumbent: there is nothing to save")
    told = f"{100 * bill.estimate:+.1f}% [{100 * bill.low:+.1f}%, {100 * bill.high:+.1f}%]"
    is_lower = bill.high < 0.0
    ended = "lower with 95% confidence" if is_lower else "not shown to be lower"
    why = f"the candidate's bill less the incumbent's is {told} of that: {ended}"
    return Check("bill", is_lower, why)


def _forgetting(evaluation: Evaluation, limits: Limits) -> Check:
    found = evaluation.forgetting
    if found is None:
        why = "not measured: no general set was given, so that nothing is known beyond the records"
        return Check("forgetting", True, why)
    if found.broken is None:
        why = (
            f"of {found.records} general records the incumbent held none: there is nothing to lose"
        )
        return Check("forgetting", True, why)
    broken = found.broken
    told = f"of {found.held} general drafts that the incumbent kept rightly the candidate breaks "
    told += f"{100 * broken.estimate:.1f}% [{100 * broken.low:.1f}%, {100 * broken.high:.1f}%]"
    allowed = f"{100 * limits.forgetting:g}%"
    least = least_worth(limits.forgetting)
    if found.worth < least:
        why = f"{told}: fewer than {least} cannot show that it is at most {allowed}, "
        is_harmed = broken.low > limits.forgetting
        why += "and it is shown to be more" if is_harmed else "and it is not shown to be more"
        return Check("forgetting", not is_harmed, why)
    is_held = broken.high <= limits.forgetting
    ended = f"at most {allowed}" if is_held else f"may be more than {allowed}"
    return Check("forgetting", is_held, f"{told}: {ended}")


# --- words ---------------------------------------------------------------------------------------


def _told(difference: Estimate, candidate: float, incumbent: float) -> str:
    return f"{candidate:.3f} against {incumbent:.3f}, {_difference(difference)}"


def _difference(found: Estimate) -> str:
    return f"difference {found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return f"{shown} and {more} more" if more > 0 else shown
