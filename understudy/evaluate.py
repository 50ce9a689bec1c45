"""``understudy evaluate``: how good a cascade is on labelled records, beside its baselines."""

import json as jsonlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from evaluation.applied import Applied, apply_policy, policy_in
from evaluation.curves import Ranking
from evaluation.errors import EvaluationError
from evaluation.features import Table, gather
from evaluation.fit import Options
from evaluation.methods import (
    BEST_SIGNAL,
    LEARNT,
    LEARNT_PRE,
    MEAN_LOGPROB,
    ORACLE,
    POLICY,
    PRE_GENERATION,
    RANDOM,
    Compared,
    compare,
    sampled_price,
    steps,
)
from evaluation.plots import draw_curves, draw_reliability
from evaluation.records import read_records
from evaluation.report import (
    Report,
    curves_document,
    reliability_document,
    report,
    shown,
)

CANNOT_EVALUATE = 2
LEAST_WIDTH = 100  # names of methods would be cut
DRAWN = (RANDOM, MEAN_LOGPROB, BEST_SIGNAL, PRE_GENERATION, LEARNT, LEARNT_PRE, POLICY, ORACLE)
STATED = (MEAN_LOGPROB, BEST_SIGNAL, PRE_GENERATION, LEARNT, POLICY)
COLUMNS = ("apgr", "auroc", "ece", "cpt50", "cpt80", "cpt95", "saved95", "saved99")


def evaluate(
    records: Path,
    *,
    policy: Path | None = None,
    price_ratio: Annotated[float, Parameter(validator=Number(gt=0))] = 20.0,
    folds: Annotated[int, Parameter(validator=Number(gte=2, lte=100))] = 5,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 1000,
    out: Path | None = None,
    json: bool = False,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
) -> int:
    """Set a learnt cascade beside its baselines on records with both models' answers.

    Whatever is fitted is fitted on other folds; questions that are asked twice share a fold.

    Parameters
    ----------
    records
        Evaluation records, JSON lines, plain or gzipped.
    policy
        A policy file to judge as it is; on the records that it was fitted on it looks too good.
    price_ratio
        The teacher's price for a request over the student's.
    folds
        In how many parts the records are cut.
    rounds
        Resamples behind the intervals.
    out
        A folder for curves, reliability diagram and results: PNG, SVG, JSON and Markdown.
    json
        Print one JSON object on stdout, and no table.
    seed
        Draws the folds and the resamples.
    """
    console = Console(stderr=True)
    options = Options(price_ratio=price_ratio, seed=seed)
    try:
        with _progress(console) as progress:
            found = _evaluated(_Wanted(records, policy, options, folds, rounds), progress)
        if out is not None:
            _write(out, found)
    except EvaluationError as error:
        console.print(f"[bold red]Cannot evaluate:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_EVALUATE
    except OSError as error:
        console.print(f"[bold red]Cannot write:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_EVALUATE
    for warning in found.document["warnings"]:
        console.print(f"[yellow]{escape(warning)}", soft_wrap=True)
    if json:
        _print_json(found.document)
    else:
        _show(found.document)
    return 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    records: Path
    policy: Path | None
    options: Options
    folds: int
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    table: Table
    rankings: Mapping[str, Ranking]
    report: Report

    @property
    def document(self) -> dict[str, Any]:
        return self.report.document


def _evaluated(wanted: _Wanted, progress: Progress) -> _Found:
    reading = progress.add_task("reading", total=None)
    _, table = gather(read_records(wanted.records))
    applied = _applied(wanted)
    progress.update(reading, total=1, completed=1)
    fitting = progress.add_task("fitting", total=steps(table, wanted.folds))

    def tell(what: str) -> None:
        progress.update(fitting, description=what)
        progress.advance(fitting)

    compared = compare(table, wanted.options, wanted.folds, tell)
    price = sampled_price(table, wanted.options)
    rankings = dict(compared.rankings)
    if applied is not None:
        rankings[POLICY] = applied.ranking(price)
    resampling = progress.add_task(f"{wanted.rounds} resamples of {table.n} records", total=None)
    made = report(
        table.outcomes,
        rankings,
        1.0 / wanted.options.price_ratio,
        rounds=wanted.rounds,
        seed=wanted.options.seed,
    )
    progress.update(resampling, total=1, completed=1)
    made.document.update(_told(wanted, table, compared, applied))
    return _Found(table, rankings, made)


def _applied(wanted: _Wanted) -> Applied | None:
    if wanted.policy is None:
        return None
    try:
        document = jsonlib.loads(wanted.policy.read_bytes())
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{wanted.policy}: cannot be read: {error}") from error
    return apply_policy(policy_in(document), read_records(wanted.records))


def _told(
    wanted: _Wanted, table: Table, compared: Compared, applied: Applied | None
) -> dict[str, Any]:
    """What the figures rest on."""
    told: dict[str, Any] = {
        "price_ratio": wanted.options.price_ratio,
        "student_price": sampled_price(table, wanted.options),
        "folds": wanted.folds,
        "seed": wanted.options.seed,
        "rounds": wanted.rounds,
        "chosen": compared.chosen,
        "teacher_disagrees_with_itself": _disagreement(table),
    }
    if applied is not None:
        told["policy"] = applied.at_threshold(table.outcomes, told["student_price"])
    return told


def _disagreement(table: Table) -> dict[str, float] | None:
    """How often the teacher's second answer says something else; None where it was not asked."""
    asked = table.agrees == table.agrees
    if not asked.any():
        return None
    weight = table.outcomes.weight[asked]
    share = float(weight @ (1.0 - table.agrees[asked]) / weight.sum())
    return {"share": share, "records": int(asked.sum())}


# --- what is shown ----------------------------------------------------------------------------


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield progress


def _print_json(document: Mapping[str, Any]) -> None:
    print(jsonlib.dumps(document, indent=1, allow_nan=False))


def _show(document: Mapping[str, Any]) -> None:
    console = Console()
    if console.width < LEAST_WIDTH:
        console = Console(width=LEAST_WIDTH)
    title = f"{document['records']} records, student {document['student_quality']:.3f}, "
    title += f"teacher {document['teacher_quality']:.3f}, prices 1 : {document['price_ratio']:g}"
    grid = Grid(title=title, box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("method", no_wrap=True)
    for name in COLUMNS:
        grid.add_column(name, justify="right")
    for name in shown(document["methods"]):
        measures = document["methods"][name]
        grid.add_row(name, *(_cell(measures[each], each) for each in COLUMNS))
    console.print(grid)
    for line in _sentences(document):
        console.print(line, highlight=False, soft_wrap=True)


def _cell(value: float | None, measure: str) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}%" if measure.startswith(("cpt", "saved")) else f"{value:.3f}"


def _sentences(document: Mapping[str, Any]) -> Iterator[str]:
    for pair, by_measure in document["differences"].items():
        found = by_measure["apgr"]
        if found is not None:
            low, high = found["interval"] or (float("nan"), float("nan"))
            yield f"APGR {pair}: {found['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
    if floor := document["teacher_disagrees_with_itself"]:
        yield (
            f"The teacher disagrees with itself on {100 * floor['share']:.1f}% of "
            f"{floor['records']} questions asked twice: no student can promise less."
        )
    if applied := document.get("policy"):
        yield (
            f"The policy keeps {100 * applied['kept_share']:.1f}%, sends "
            f"{100 * applied['straight_share']:.1f}% straight to the teacher, reaches "
            f"{applied['quality']:.3f} and saves {100 * applied['saved']:.1f}%."
        )


def _write(out: Path, found: _Found) -> None:
    """Pictures, numbers and a page, in a folder that is made where it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    outcomes, rankings = found.table.outcomes, found.rankings
    curves = curves_document(found.report, outcomes, rankings)
    draw_curves(curves, [name for name in DRAWN if name in rankings], out)
    stated = reliability_document(outcomes, rankings)
    draw_reliability(stated, [name for name in STATED if name in stated], out)
    text = jsonlib.dumps(found.document, indent=1)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    (out / "results.md").write_text(_page(found.document), encoding="utf-8")


def _page(document: Mapping[str, Any]) -> str:
    told = f"{document['records']} records; the student's quality is "
    told += f"{document['student_quality']:.3f}, the teacher's {document['teacher_quality']:.3f}."
    lines = [
        told,
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
    ]
    for name in shown(document["methods"]):
        measures = document["methods"][name]
        interval = (measures.get("intervals") or {}).get("apgr")
        cells = [_cell(measures[each], each) for each in COLUMNS]
        if interval:
            cells[0] += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_sentences(document), ""])
