"""The policy that each cascade is measured with: read from its file, or fitted on one half.

A policy is never measured on the records that it was fitted on: they would flatter it.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.halves import sha256_of_half, write_half
from evaluation import policies
from evaluation.applied import policy_in
from evaluation.bounds import Refused
from evaluation.errors import EvaluationError
from evaluation.fit import Options
from evaluation.source import sha256_of
from evaluation.targets import Target
from routing import Policy
from routing.errors import PolicyError
from routing.policy_file import Origin, origin_from_document
from routing.rollout_file import policy_version

Progress = Callable[[str], None]

_VERSION_LENGTH = 12  # as gateways name a policy file by its content


@dataclass(frozen=True, slots=True)
class Fit:
    """How policies are to be fitted.

    ``cascade`` names whose; ``date`` is a day as in 2026-11-30; ``price_ratio`` is the teacher's
    price over the student's.
    """

    target: Target
    cascade: str
    date: str
    price_ratio: float
    hold_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class PolicyFile:
    """A policy and the content of its file."""

    content: bytes
    policy: Policy
    origin: Origin
    is_fitted_here: bool

    @property
    def sha256(self) -> str:
        """The digest of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def version(self) -> str:
        """What gateways call it."""
        return self.sha256[:_VERSION_LENGTH]

    @property
    def as_generations(self) -> str:
        """What gateways call it where a generation brings it."""
        return policy_version(_parsed(self.content))


def read_policy(path: Path) -> PolicyFile:
    """Read a policy file.  Raises EvaluationError."""
    try:
        return _policy_file(path.read_bytes(), is_fitted_here=False)
    except (OSError, EvaluationError, PolicyError) as error:
        raise EvaluationError(f"{path}: {error}") from None


def fit_policy(records: Path, version: str, fit: Fit, progress: Progress) -> PolicyFile | Refused:
    """Fit a policy for the student ``version`` on the half of its records that is to be fitted on.

    Raises EvaluationError where they do not allow it.
    """
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        half = Path(folder) / "half.jsonl"
        write_half(records, half)
        wanted = policies.Wanted(
            target=fit.target,
            options=Options(price_ratio=fit.price_ratio, seed=fit.seed),
            date=fit.date,
            cascade=fit.cascade,
            student_version=version,
            hold_tokens=fit.hold_tokens,
        )
        found = policies.calibrate(policies.read(half, fit.hold_tokens), wanted, progress)
    if isinstance(found, Refused):
        return found
    content = json.dumps(found.document, indent=1).encode() + b"\n"
    return _policy_file(content, is_fitted_here=True)


def refuse_flattered(file: PolicyFile, records: Path, *, is_half: bool) -> None:
    """Refuse a policy that was fitted on what it is to be measured on.

    ``is_half``: only the half to measure is.  Raises EvaluationError.
    """
    fitted_on = file.origin.data_sha256
    if fitted_on == sha256_of(records):
        what = "these records"
    elif not is_half and fitted_on == sha256_of_half(records):
        what = "one half of these records"
    else:
        return
    raise EvaluationError(
        f"the policy {file.version} was fitted on {what}, which flatter it: measure on others, or "
        "let --fit fit policies on one half and measure on the other"
    )


def refuse_other_student(file: PolicyFile, version: str) -> None:
    """Refuse a policy of another student than ``version``.  Raises EvaluationError."""
    if file.origin.student_version != version:
        raise EvaluationError(
            f"the policy {file.version} is for the student {file.origin.student_version}, and the "
            f"records are of {version}: fit one for this student, or let --fit do it"
        )


def _policy_file(content: bytes, *, is_fitted_here: bool) -> PolicyFile:
    document = _parsed(content)
    policy = policy_in(document)
    return PolicyFile(content, policy, origin_from_document(document), is_fitted_here)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"is not JSON: {error}") from None
