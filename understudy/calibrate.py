"""``understudy calibrate``: a policy that keeps a promise on new requests, or none."""

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from evaluation.bounds import Certified, Refused
from evaluation.dossier import promise
from evaluation.errors import EvaluationError
from evaluation.fit import Options
from evaluation.policies import Calibrated, Wanted, read
from evaluation.policies import calibrate as fit_and_certify
from evaluation.targets import target_of
from routing.errors import PolicyError
from understudy.writing import write_whole

REFUSED = 1
CANNOT_CALIBRATE = 2


def calibrate(
    records: Path,
    *,
    target: str,
    out: Path,
    confidence: float = 0.95,
    cascade: str | None = None,
    student_version: str | None = None,
    price_ratio: Annotated[float, Parameter(validator=Number(gt=0))] = 20.0,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    hold_tokens: Annotated[int, Parameter(validator=Number(gte=1, lte=1024))] = 16,
    json: bool = False,
) -> int:
    """Fit a policy on labelled records, and choose its threshold with a promise for new requests.

    One half of the records is fitted on, the threshold is chosen on the other.  Status 0: the
    policy is written.  1: the promise cannot be made on so many records; nothing is written.  2:
    the records or options are of no use.

    Parameters
    ----------
    records
        Evaluation records, JSON lines, plain or gzipped: a random sample of your requests.
    target
        quality=0.99 (of the teacher's), disagreement=0.05 (among kept drafts, at most) or
        escalation_rate=0.2 (at most).
    out
        The policy file to write.
    confidence
        With which probability the promise is to hold.
    cascade
        The cascade's name; needed where the records do not say.
    student_version
        The student's version; needed where the records do not say.
    price_ratio
        The teacher's price for a request over the student's.
    seed
        Draws the halves.  Choose it before you look: trying several breaks the promise.
    hold_tokens
        The cascade's streaming.hold_tokens, which the promise for streams is made for.
    json
        Print one JSON object on stdout, and no text.
    """
    console = Console(stderr=True)
    try:
        wanted = Wanted(
            target=target_of(target, confidence),
            options=Options(price_ratio=price_ratio, seed=seed),
            date=datetime.now(UTC).date().isoformat(),
            cascade=cascade,
            student_version=student_version,
            hold_tokens=hold_tokens,
        )
        with _progress(console) as progress:
            found = _calibrated(records, wanted, progress)
        if isinstance(found, Calibrated):
            write_whole(out, jsonlib.dumps(found.document, indent=1).encode() + b"\n")
    except (EvaluationError, PolicyError, OSError) as error:
        console.print(f"[bold red]Cannot calibrate:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_CALIBRATE
    if json:
        print(jsonlib.dumps(_told(found, out), indent=1))
    if isinstance(found, Refused):
        _say_refused(found, console)
        return REFUSED
    if not json:
        _show(found, out)
    return 0


def _say_refused(found: Refused, console: Console) -> None:
    console.print(f"[bold red]Refused:[/] {escape(str(found))}.", soft_wrap=True)
    console.print(
        "These are the records of the half that is not fitted on: a file takes twice as many.  "
        "Nothing is written.",
        soft_wrap=True,
    )


def _calibrated(records: Path, wanted: Wanted, progress: Progress) -> Calibrated | Refused:
    task = progress.add_task("reading", total=None)
    source = read(records, wanted.hold_tokens)
    return fit_and_certify(source, wanted, lambda what: progress.update(task, description=what))


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def _told(found: Calibrated | Refused, out: Path) -> dict[str, Any]:
    if isinstance(found, Refused):
        needs = found.needs
        return {
            "is_certified": False,
            "why": str(found),
            "records": found.n,
            "needs": {
                "counted": needs.counted,
                "without_loss": needs.without_loss,
                "at_best": needs.at_best,
                "at_observed": needs.at_observed,
            },
        }
    whole = found.whole
    return {
        "is_certified": True,
        "policy": str(out),
        "promise": promise(whole.target),
        "threshold": whole.threshold,
        "certified_on": whole.n,
        "kept_share": whole.kept_share,
        "observed": whole.observed,
        "streamed": _streamed(found.streamed),
        "notes": list(found.notes),
    }


def _streamed(found: Certified | Refused | None) -> dict[str, Any] | None:
    if not isinstance(found, Certified):
        return None
    return {
        "threshold": found.threshold,
        "kept_share": found.kept_share,
        "observed": found.observed,
    }


def _show(found: Calibrated, out: Path) -> None:
    console = Console()
    whole = found.whole
    shown = (
        f"Threshold {whole.threshold:.4f}, chosen on {whole.n:,} records.  They show "
        f"{whole.target.kind.value} {whole.observed:.4f} at it, and {100 * whole.kept_share:.1f}% "
        "kept: estimates, and no promise."
    )
    lines = [promise(whole.target), shown]
    if isinstance(found.streamed, Certified):
        lines.append(
            f"Streams: threshold {found.streamed.threshold:.4f}, "
            f"{100 * found.streamed.kept_share:.1f}% released."
        )
    for line in [*lines, *found.notes, f"Written: {out}.  `understudy explain {out}` tells more."]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
