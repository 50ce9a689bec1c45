"""An evaluation for people: one page with the gate's verdict, the figures and the pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from distill.comparison import Comparison
from distill.evaluation_file import USD, Estimate, Evaluation
from distill.gate import Check, is_open
from evaluation.outcomes import Floats
from evaluation.report import reliability_bins

CURVE_POINTS = 200  # as many as a picture shows
UNITS = {USD: "USD", "teacher_answers": "teacher's answers"}


def page(evaluation: Evaluation, checks: Sequence[Check]) -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            *_head(evaluation, checks),
            *_checks(checks),
            *_figures(evaluation),
            *_groups(evaluation),
            *_forgetting(evaluation),
            "![Quality against cost](curves.png) ![Reliability](reliability.png)",
            "",
            *_foot(evaluation),
            "",
        ]
    )


def verdict(checks: Sequence[Check]) -> str:
    """What the gate will say, in a sentence."""
    if is_open(checks):
        return "The gate will let the candidate in: every check is passed."
    failed = ", ".join(each.name for each in checks if not each.passed)
    return f"The gate will refuse the candidate: {failed}."


def money(value: float | None, unit: str) -> str:
    """A cost in its unit."""
    if value is None:
        return "-"
    return f"${value:.3g}" if unit == USD else f"{value:.3f}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f}%"


def ends(found: Estimate, scale: float = 1.0, digits: int = 3) -> str:
    """An estimate with its interval."""
    estimate, low, high = (
        f"{scale * each:+.{digits}f}" for each in (found.estimate, found.low, found.high)
    )
    return f"{estimate} [{low}, {high}]"


def rows(evaluation: Evaluation) -> Iterator[tuple[str, str, str, str]]:
    """The table: what, of the candidate, of the incumbent, and the difference."""
    alone, cascade, unit = evaluation.alone, evaluation.cascade, evaluation.unit
    new, old, equal = cascade.candidate, cascade.incumbent, cascade.bill_at_equal_quality
    yield (
        "student alone: quality",
        f"{alone.candidate.quality:.3f}",
        f"{alone.incumbent.quality:.3f}",
        ends(alone.difference),
    )
    for name, one, other in (
        ("ECE", alone.candidate.ece, alone.incumbent.ece),
        ("AUROC", alone.candidate.auroc, alone.incumbent.auroc),
    ):
        yield f"student alone: {name}", _number(one), _number(other), ""
    yield "cascade: quality", f"{new.quality:.3f}", f"{old.quality:.3f}", ends(cascade.difference)
    yield "cascade: kept", share(new.kept_share), share(old.kept_share), ""
    yield "cascade: escalated", share(new.escalation_rate), share(old.escalation_rate), ""
    yield (
        f"cascade: {UNITS[unit]} per request",
        money(new.cost_per_request, unit),
        money(old.cost_per_request, unit),
        _percent(cascade.bill),
    )
    yield (
        f"… at {equal.target:g} of the teacher's quality",
        money(equal.candidate, unit),
        money(equal.incumbent, unit),
        _percent(equal.bill),
    )


def spending_document(evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    """The numbers behind the picture of quality against cost."""
    weight = comparison.pairing.sample.weight[None, :]
    # A request costs so little in USD that its figures would not fit below an axis.
    requests = 1000 if evaluation.unit == USD else 1
    per = f"{requests:,} requests" if requests > 1 else "request"
    curves = {}
    for name, spending in zip(("candidate", "incumbent"), comparison.spending(), strict=True):
        points = spending.points(weight)
        curves[name] = {
            "cost": _thinned(requests * points.cost[0]),
            "quality": _thinned(points.quality[0]),
        }
    cascade, teacher = evaluation.cascade, evaluation.teacher
    return {
        "unit": f"{UNITS[evaluation.unit]} per {per}",
        "curves": curves,
        "policies": {
            name: {"cost": requests * each.cost_per_request, "quality": each.quality}
            for name, each in (("candidate", cascade.candidate), ("incumbent", cascade.incumbent))
        },
        "teacher": {"cost": requests * teacher.cost_per_request, "quality": teacher.quality},
        "target": cascade.bill_at_equal_quality.target * teacher.quality,
    }


def reliability_document(comparison: Comparison) -> dict[str, Any]:
    """The bins of each student's confidence, by its own policy."""
    return {
        name: bins
        for name, arm in (("candidate", comparison.candidate), ("incumbent", comparison.incumbent))
        if (bins := reliability_bins(comparison.pairing.outcomes(arm.side), arm.decided.confidence))
    }


# --- parts of the page --------------------------------------------------------------------------


def _head(evaluation: Evaluation, checks: Sequence[Check]) -> list[str]:
    teacher = evaluation.teacher
    told = f"{evaluation.records} records of both; the teacher's quality is {teacher.quality:.3f} "
    told += f"at {money(teacher.cost_per_request, evaluation.unit)} a request. In brackets: each "
    told += f"end holds with {100 * evaluation.confidence:g}% confidence."
    title = f"# {evaluation.candidate.version} beside {evaluation.incumbent.version}"
    return [title, "", f"**{verdict(checks)}**", "", told, ""]


def _checks(checks: Sequence[Check]) -> list[str]:
    lines = ["| check | | why |", "| --- | --- | --- |"]
    for each in checks:
        told = "passed" if each.passed else "**refused**"
        lines.append(f"| {_cell(each.name)} | {told} | {_cell(each.why)} |")
    return [*lines, ""]


def _figures(evaluation: Evaluation) -> list[str]:
    lines = ["| | candidate | incumbent | difference |", "| --- | ---: | ---: | ---: |"]
    return [*lines, *(f"| {' | '.join(each)} |" for each in rows(evaluation)), ""]


def _groups(evaluation: Evaluation) -> list[str]:
    if not evaluation.groups:
        return []
    lines = [
        "| group | records | cascade: candidate | incumbent | difference | alone: difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, each in evaluation.groups.items():
        told = f"{each.candidate:.3f} | {each.incumbent:.3f} | {ends(each.difference)}"
        lines.append(f"| {_cell(name)} | {each.records} | {told} | {ends(each.alone)} |")
    return [*lines, ""]


def _forgetting(evaluation: Evaluation) -> list[str]:
    found = evaluation.forgetting
    if found is None or not found.groups:
        return []
    lines = ["| general set: group | held by the incumbent | broken |", "| --- | ---: | ---: |"]
    for name, each in found.groups.items():
        lines.append(f"| {_cell(name)} | {each.held} | {share(each.broken)} |")
    lost = _percent(found.draft_lost)
    return [*lines, "", f"Drafts that are wrong now, deferred ones included: {lost}.", ""]


def _foot(evaluation: Evaluation) -> Iterator[str]:
    for name, each in (("Candidate", evaluation.candidate), ("Incumbent", evaluation.incumbent)):
        policy = "no policy: the teacher alone"
        if each.policy_version is not None:
            fitted = ", fitted on the other half of the records" if each.is_fitted_here else ""
            policy = f"policy `{each.policy_version}`{fitted}"
        yield f"- {name}: `{each.version}`, {policy}; records `{each.records_sha256[:12]}`."
    yield from (f"- {note}" for note in evaluation.notes)
    yield f"- Made at {evaluation.made_at}, {evaluation.rounds} resamples, seed {evaluation.seed}."


def _percent(found: Estimate | None) -> str:
    return "-" if found is None else f"{ends(found, 100.0, 1)} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _thinned(values: Floats) -> list[float]:
    """So many of them, the first and the last included."""
    places = np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).round().astype(np.int64))
    return [float(each) for each in values[places]]
