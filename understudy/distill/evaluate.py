"""``understudy distill evaluate``: a candidate beside the incumbent, before any traffic sees it."""

import json as jsonlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from distill import evaluation_file
from distill.comparison_report import (
    page,
    reliability_document,
    rows,
    spending_document,
    verdict,
)
from distill.gate import FORGETTING, MARGIN, Check, Limits, Proposal, check, is_open
from distill.measuring import Files, Found, Wanted, measure
from evaluation.bounds import Refused
from evaluation.errors import EvaluationError
from evaluation.plots import draw_reliability, draw_spending
from evaluation.targets import target_of
from understudy.telling import CommandError, perform
from understudy.writing import write_whole

REFUSED = 1
POLICY_NAME = "candidate-policy.json"
REPORT_NAME = "report.md"
_LEAST_WIDTH = 100

_Positive = Annotated[float | None, Parameter(validator=Number(gt=0))]
_Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Policies:
    """By which policies the cascades decide.

    Parameters
    ----------
    candidate_policy
        The candidate's policy file, fitted on other records than these.
    incumbent_policy
        The incumbent's, as it serves now.
    incumbent_uncalibrated
        The incumbent has no policy and keeps drafts from this confidence on: its cascade's
        objective, 0.8 where it has none.
    fit
        Fit what no file is named for on one half of the records, and measure on the other.
    cascade
        The cascade that fitted policies are for; that of the incumbent's policy where not said.
    hold_tokens
        The cascade's streaming.hold_tokens, for fitted policies.
    """

    candidate_policy: Path | None = None
    incumbent_policy: Path | None = None
    incumbent_uncalibrated: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = (
        None
    )
    fit: Annotated[bool, Parameter(negative=())] = False
    cascade: str | None = None
    hold_tokens: Annotated[int, Parameter(validator=Number(gte=1, lte=1024))] = 16

    def named_in(self, files: Files) -> Files:
        """The files, with the policies."""
        return replace(
            files,
            candidate_policy=self.candidate_policy,
            incumbent_policy=self.incumbent_policy,
            incumbent_threshold=self.incumbent_uncalibrated,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Manner:
    """What the gate will be asked to hold, and how the intervals are drawn.

    Parameters
    ----------
    margin
        How much of the quality may be lost, in all and on each group.
    forgetting
        The share that may break of what the incumbent kept rightly on the general set.
    price_ratio
        The teacher's price for a request over the student's, instead of the records' own costs.
    rounds
        Resamples behind the intervals.
    seed
        Draws them, and what is fitted.
    """

    margin: _Share = MARGIN
    forgetting: _Share = FORGETTING
    price_ratio: _Positive = None
    rounds: Annotated[int, Parameter(validator=Number(gte=100, lte=100_000))] = 2000
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0


def evaluate(
    *,
    candidate: Path,
    incumbent: Path,
    out: Path,
    general_candidate: Path | None = None,
    general_incumbent: Path | None = None,
    target: str = "quality=0.99",
    policies: Policies | None = None,
    manner: Manner | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure a candidate beside the incumbent on the same questions, and say what the gate will.

    Status 0: it is measured, whether the gate will let it in or not.  1: no policy of the
    candidate's holds the target, nothing is written.  2: the files or options are of no use.

    Parameters
    ----------
    candidate
        Evaluation records of the candidate, on requests that it was not trained on.
    incumbent
        Those of the student that serves now, on the same requests.
    out
        A folder for evaluation.json, report.md, pictures and, with --fit, candidate-policy.json.
    general_candidate
        The candidate's records of a general set, on which nothing is to be forgotten.
    general_incumbent
        The incumbent's records of the same.
    target
        quality=0.99 (of the teacher's): what fitted policies promise, and where bills are compared.
    json
        Print evaluation.json and the checks as one object on stdout, and no table.
    """
    policies, manner = policies or Policies(), manner or Manner()
    files = Files(
        candidate=candidate,
        incumbent=incumbent,
        general_candidate=general_candidate,
        general_incumbent=general_incumbent,
    )
    files = policies.named_in(files)

    def work() -> int:
        now = datetime.now(UTC)
        try:
            wanted = Wanted(
                files=files,
                target=target_of(target),
                made_at=now.isoformat(timespec="seconds"),
                is_fit=policies.fit,
                cascade=policies.cascade,
                hold_tokens=policies.hold_tokens,
                price_ratio=manner.price_ratio,
                rounds=manner.rounds,
                seed=manner.seed,
            )
            with _progress() as progress:
                found = measure(wanted, progress)
        except EvaluationError as error:
            raise CommandError(str(error)) from None
        if isinstance(found, Refused):
            return _refuse(found)
        checks = _checks(found, now, Limits(manner.margin, manner.forgetting))
        _write(out, found, checks, is_fitted=policies.fit)
        _tell(found, checks, out, is_json=json)
        return 0

    return perform("evaluate", work)


def _checks(found: Found, now: datetime, limits: Limits) -> tuple[Check, ...]:
    measured = found.evaluation
    proposal = Proposal(measured.candidate.version, found.policy, measured.incumbent.version)
    return check(measured, proposal, now, limits)


def _refuse(found: Refused) -> int:
    Console(stderr=True).print(
        f"Refused: no policy of the candidate's holds the target on one half of the records: "
        f"{found}.  Nothing is written.",
        markup=False,
        soft_wrap=True,
    )
    return REFUSED


def _write(out: Path, found: Found, checks: Sequence[Check], *, is_fitted: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if is_fitted:
        write_whole(out / POLICY_NAME, found.policy)
    draw_spending(spending_document(found.evaluation, found.comparison), out)
    stated = reliability_document(found.comparison)
    draw_reliability(stated, list(stated), out)
    write_whole(out / REPORT_NAME, page(found.evaluation, checks).encode())
    write_whole(out / evaluation_file.NAME, evaluation_file.to_bytes(found.evaluation))


def _tell(found: Found, checks: Sequence[Check], out: Path, *, is_json: bool) -> None:
    if is_json:
        print(jsonlib.dumps(_told(found, checks), indent=1, allow_nan=False))
        return
    console = Console()
    if console.width < _LEAST_WIDTH:
        console = Console(width=_LEAST_WIDTH)
    measured = found.evaluation
    title = f"{measured.candidate.version} beside {measured.incumbent.version}, "
    title += f"{measured.records} records"
    grid = Table("", title=title, box=SIMPLE_HEAD, pad_edge=False)
    for name in ("candidate", "incumbent", "difference"):
        grid.add_column(name, justify="right")
    for row in rows(measured):
        grid.add_row(*row)
    console.print(grid)
    for each in checks:
        mark = "passed " if each.passed else "refused"
        console.print(f"{mark}  {each.name}: {each.why}", markup=False, highlight=False)
    for line in (verdict(checks), *measured.notes, f"Written: {out}."):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _told(found: Found, checks: Sequence[Check]) -> dict[str, Any]:
    gate = {
        "is_open": is_open(checks),
        "checks": [{"name": each.name, "passed": each.passed, "why": each.why} for each in checks],
    }
    evaluation = jsonlib.loads(evaluation_file.to_bytes(found.evaluation))
    return {"evaluation": evaluation, "gate": gate}


class _Steps:
    """Shows what is being done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)

    def __call__(self, what: str) -> None:
        self._progress.update(self._task, description=what)


@contextmanager
def _progress() -> Iterator[_Steps]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Steps(progress)
