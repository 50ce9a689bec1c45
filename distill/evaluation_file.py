"""``evaluation.json``: what was measured of a candidate beside the incumbent, as the gate reads it.

Nothing here measures or decides.  Every interval holds ``confidence`` at each end: the true value
lies below ``low`` with at most 5%, and above ``high`` with at most 5%.
"""

from collections.abc import Mapping

import msgspec

SCHEMA_VERSION = 1
CONFIDENCE = 0.95  # of each end of an interval
NAME = "evaluation.json"
NO_GROUP = "(none)"  # where some records name a group, those that do not

USD, TEACHER_ANSWERS = "usd", "teacher_answers"


class EvaluationFileError(ValueError):
    """The file is no evaluation that this release reads; the text says what is wrong, and where."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: each key is there, and no other."""


class Estimate(_Part, frozen=True, kw_only=True):
    """What the records show, and how far it may be from the truth at each side."""

    estimate: float
    low: float
    high: float


class Measured(_Part, frozen=True, kw_only=True):
    """Whose answers were measured: the student by its version, the policy by its file's bytes.

    ``policy_version`` is how gateways name that file, ``generation_policy`` how they name it as a
    generation's.  ``threshold`` is the merit from which it keeps a draft.  ``is_fitted_here``: the
    policy was fitted on the other half of the same records.  An incumbent that serves by the
    uncalibrated default has that for a policy, and no file.  Without a policy, because none could
    hold what was asked, the teacher alone was measured.
    """

    version: str
    records_sha256: str
    policy_sha256: str | None
    policy_version: str | None
    generation_policy: str | None
    threshold: float | None
    is_fitted_here: bool


class Teacher(_Part, frozen=True, kw_only=True):
    """The one teacher of both.  Of ``assumed`` records nobody asked it: it is taken to be right."""

    quality: float
    cost_per_request: float
    assumed: int


class Alone(_Part, frozen=True, kw_only=True):
    """A student without its teacher.

    ``ece`` and ``auroc`` are of the confidence that its own policy states; None where that says
    nothing, or all drafts are equally good.
    """

    quality: float
    ece: float | None
    auroc: float | None


class AloneCompared(_Part, frozen=True, kw_only=True):
    """Both students alone; ``difference`` is the candidate's quality less the incumbent's."""

    candidate: Alone
    incumbent: Alone
    difference: Estimate


class Cascade(_Part, frozen=True, kw_only=True):
    """A student with its own policy and the teacher; shares are of the requests.

    ``escalation_rate`` counts those that went ``straight`` to the teacher too.
    """

    quality: float
    kept_share: float
    escalation_rate: float
    straight_share: float
    cost_per_request: float


class EqualQuality(_Part, frozen=True, kw_only=True):
    """The cheapest point of each curve that reaches ``target`` times the teacher's quality.

    Costs are per request.  ``bill`` is candidate / incumbent - 1.  None where a curve does not get
    there.
    """

    target: float
    candidate: float | None
    incumbent: float | None
    bill: Estimate | None


class CascadeCompared(_Part, frozen=True, kw_only=True):
    """Both cascades, each by its own policy as it is.

    ``difference`` is of quality; ``bill`` is candidate / incumbent - 1, None where nothing was
    paid.
    """

    candidate: Cascade
    incumbent: Cascade
    difference: Estimate
    bill: Estimate | None
    bill_at_equal_quality: EqualQuality


class Group(_Part, frozen=True, kw_only=True):
    """One group.  ``candidate`` and ``incumbent`` are the cascades' quality in it.

    ``worth`` is how many independent records of the largest weight it holds.  ``with_smaller`` is
    the difference over this group and all that are worth less, ``worth_with_smaller`` of them.
    """

    records: int
    worth: float
    candidate: float
    incumbent: float
    difference: Estimate
    alone: Estimate
    worth_with_smaller: float
    with_smaller: Estimate


class ForgottenGroup(_Part, frozen=True, kw_only=True):
    """Forgetting in one group: ``held`` drafts of which the share ``broken`` is not held now."""

    held: int
    broken: float


class Forgetting(_Part, frozen=True, kw_only=True):
    """What became of the drafts that the incumbent kept on a general set, and rightly.

    There are ``held`` of them.  Of these the candidate keeps the share ``broken`` and is wrong;
    ``draft_lost`` also counts those that it gets wrong and defers.  ``worth`` is as in a group.
    None where the incumbent held nothing.
    """

    records: int
    held: int
    worth: float
    broken: Estimate | None
    draft_lost: Estimate | None
    groups: Mapping[str, ForgottenGroup]


class Evaluation(_Part, frozen=True, kw_only=True):
    """All of it.

    ``unit`` is what costs are in: USD, or prices of a teacher's answer.  ``records`` are those that
    were measured, ``questions`` how many different ones there are, and ``worth`` how many
    independent records of the largest weight.  ``made_at`` is in ISO 8601, UTC.
    """

    schema_version: int
    made_at: str
    confidence: float
    rounds: int
    seed: int
    unit: str
    records: int
    questions: int
    worth: float
    candidate: Measured
    incumbent: Measured
    teacher: Teacher
    groups: Mapping[str, Group]
    alone: AloneCompared
    cascade: CascadeCompared
    forgetting: Forgetting | None
    notes: tuple[str, ...]


def to_bytes(evaluation: Evaluation) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(evaluation), indent=1) + b"\n"


def from_bytes(content: bytes) -> Evaluation:
    """Read the file's content.  Raises EvaluationFileError."""
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.schema_version != SCHEMA_VERSION:
            raise EvaluationFileError(
                f"schema_version: this release reads {SCHEMA_VERSION}, the file has "
                f"{head.schema_version}: evaluate again"
            )
        return _checked(msgspec.json.decode(content, type=Evaluation))
    except msgspec.MsgspecError as error:
        raise EvaluationFileError(f"no evaluation: {error}") from None


class _Head(msgspec.Struct):
    schema_version: int


def _checked(evaluation: Evaluation) -> Evaluation:
    if evaluation.confidence != CONFIDENCE:
        raise EvaluationFileError(
            f"confidence: must be {CONFIDENCE:g}, got {evaluation.confidence:g}"
        )
    return evaluation
