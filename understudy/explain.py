"""``understudy explain``: what is in a policy file, on what evidence, and when to fit again."""

import json as jsonlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from evaluation.applied import policy_in
from evaluation.errors import EvaluationError
from routing.errors import PolicyError
from routing.model import Average, Linear, Model, Score, Trees
from routing.policy import Policy
from routing.policy_file import Origin, origin_from_document

CANNOT_EXPLAIN = 2
LEAST_WIDTH = 80
MOST_NAMES = 12

Evidence = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """A policy, where it comes from, and the evidence that its file brings, if any."""

    path: Path
    policy: Policy
    origin: Origin
    evidence: Evidence


def explain(policy: Path, *, out: Path | None = None) -> int:
    """Show what a policy decides by, on what evidence, and when to fit again.

    Parameters
    ----------
    policy
        The policy file.
    out
        A folder for a page in Markdown with the curve and the reliability diagram: PNG, SVG, JSON.
    """
    problems = Console(stderr=True)
    try:
        found = read_policy(policy)
        if out is not None:
            write_page(found, out)
    except (EvaluationError, PolicyError) as error:
        problems.print(f"[bold red]Cannot explain:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_EXPLAIN
    except OSError as error:
        problems.print(f"[bold red]Cannot write:[/] {escape(str(error))}", soft_wrap=True)
        return CANNOT_EXPLAIN
    console = Console()
    if console.width < LEAST_WIDTH:
        console = Console(width=LEAST_WIDTH)
    console.print(_page(found))
    return 0


def read_policy(path: Path) -> Explained:
    """The policy of a file.  Raises EvaluationError or PolicyError where it is none."""
    try:
        document = jsonlib.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from error
    policy, origin = policy_in(document), origin_from_document(document)
    return Explained(path, policy, origin, dict(origin.evidence))


# --- what is said -----------------------------------------------------------------------------


def facts(found: Explained) -> Iterator[tuple[str, str]]:
    """What the file says of itself, a line each."""
    origin, policy, told = found.origin, found.policy, found.evidence
    target = origin.basis.target
    yield "cascade", origin.cascade
    yield "student", origin.student_version
    sampling = "any" if policy.sampling is None else _listed(policy.sampling) or "the server's own"
    yield "sampling", sampling
    if policy.samples > 1:
        yield "samples", f"the draft that most of {policy.samples} agree with"
    yield "made", f"{origin.date}, from records {origin.data_sha256[:12]}…"
    yield "target", f"{target.kind} {target.value:g}, probability {target.with_probability:g}"
    yield "keeps from", f"merit {policy.threshold.value:.4f}"
    if "fitted_on" in told:
        yield "records", f"{told['fitted_on']:,} fitted on, {origin.basis.n:,} certified on"
    else:
        yield "records", f"{origin.basis.n:,} certified on"
    if "observed" in told:
        seen = f"{target.kind} {told['observed']:.4f}, {_percent(told['kept_share'])} kept"
        yield "observed", f"{seen}: an estimate, no promise"
    yield "rule", _rule(found)
    yield "prompt", _prompt(policy)
    yield "streams", _streams(found)


def sentences(found: Explained) -> Iterator[str]:
    """The promise, what it rests on, and when it ends."""
    told = found.evidence
    if "promise" in told:
        yield str(told["promise"])
        yield str(told["theorem"])
    for number, each in enumerate(told.get("assumptions", ()), start=1):
        yield f"Assumption {number}. {each}"
    yield from map(str, told.get("notes", ()))
    if "refit" in told:
        yield str(told["refit"])
    if watched := told.get("kept_share_watched"):
        yield (
            f"Of {watched['requests']:,} requests like the records, {_percent(watched['low'])} to "
            f"{_percent(watched['high'])} are kept, but for once in a hundred times: outside of "
            "that the traffic has changed, and the promise is for the old one."
        )


def _rule(found: Explained) -> str:
    rule, told = found.policy.whole, found.evidence
    names = rule.score.names
    shown = ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
    parts = [f"{_kind(rule.score)} of {shown}"]
    if rule.by_group:
        parts.append(f"calibrated apart for {', '.join(rule.by_group)}")
    if rule.gain is not None:
        parts.append("held against what the teacher would gain")
    if told.get("candidates"):
        best = ", ".join(f"{name} {value:.4f}" for name, value in told["candidates"].items())
        parts.append(f"candidates by area: {best}")
    return "; ".join(parts)


def _kind(model: Model) -> str:
    match model:
        case Score():
            return "a sum"
        case Linear():
            return "a linear model"
        case Trees():
            return f"{len(model.trees)} trees"
        case Average():
            return "an average of models"


def _prompt(policy: Policy) -> str:
    if policy.prompt is None:
        return "not asked"
    terms = policy.prompt.model.terms
    hope = f"its estimate and {policy.prompt.margin:.3f}"
    return f"{len(terms.weights):,} terms; no draft where {hope} are below the threshold"


def _streams(found: Explained) -> str:
    streamed, told = found.policy.streamed, found.evidence.get("streamed")
    if not streamed.is_calibrated:
        return "the uncalibrated default rules"
    at = ", ".join(str(each.tokens) for each in streamed.checkpoints)
    seen = f", {_percent(told['kept_share'])} released" if told else ""
    return (
        f"released from merit {streamed.end.threshold.value:.4f} at {streamed.hold_tokens} tokens"
        f"{seen}; given up early at {at}"
    )


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


# --- in the terminal --------------------------------------------------------------------------


def _page(found: Explained) -> Group:
    grid = Table(title=str(found.path), box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column()
    for name, text in facts(found):
        grid.add_row(name, escape(text))
    parts: list[Any] = [grid]
    for title, table in tables(found.evidence):
        shown = Table(*table[0], title=title, box=SIMPLE_HEAD, pad_edge=False)
        for row in table[1:]:
            shown.add_row(*map(escape, row))
        parts.append(shown)
    parts += [escape(each) for each in sentences(found)]
    return Group(*parts)


def tables(told: Evidence) -> Iterator[tuple[str, list[list[str]]]]:
    """Curve, reliability and groups as titles and rows, the first of which names the columns."""
    if curve := told.get("curve"):
        rows = [["keeps from", "kept", "quality / teacher's", "disagreement among kept"]]
        step = max(1, len(curve["threshold"]) // 10)
        for place in range(0, len(curve["threshold"]), step):
            row = [f"{curve['threshold'][place]:.4f}"]
            names = ("kept_share", "quality", "disagreement")
            rows.append(row + [_percent(curve[name][place]) for name in names])
        yield "What other thresholds would have shown", rows
    if bins := [each for each in told.get("reliability", ()) if each["confidence"] is not None]:
        rows = [["confidence", "share", "acceptable"]]
        for each in bins:
            seen = _percent(each["acceptable"])
            rows.append([f"{each['confidence']:.3f}", _percent(each["share"]), seen])
        yield "Is the confidence what it says?", rows
    if groups := told.get("groups"):
        rows = [["group", "records", "kept", "disagreement", "acceptable", "confidence"]]
        for each in groups:
            shares = [each["kept_share"], each["disagreement"], each["acceptable"]]
            stated = "-" if each["confidence"] is None else f"{each['confidence']:.3f}"
            name = each["group"] or "(none)"
            rows.append([name, str(each["n"]), *map(_percent, shares), stated])
        yield "By group: there is no promise for one alone", rows


# --- as a page --------------------------------------------------------------------------------


def write_page(found: Explained, folder: Path) -> None:
    """A Markdown page with its pictures, in a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = list(_draw(found, folder))
    lines = [f"# Policy of cascade `{found.origin.cascade}`", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in facts(found)]
    lines += [part for sentence in sentences(found) for part in ("", sentence)]
    for title, path in pictures:
        lines += ["", f"![{title}]({path.name})"]
    for title, rows in tables(found.evidence):
        lines += ["", f"## {title}", "", f"| {' | '.join(rows[0])} |"]
        lines.append(f"| --- |{' ---: |' * (len(rows[0]) - 1)}")
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows[1:]]
    (folder / "policy.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _draw(found: Explained, folder: Path) -> Iterator[tuple[str, Path]]:
    # A page in the terminal has no pictures, and matplotlib takes a second.
    from evaluation.plots import draw_promise, draw_reliability

    told, target = found.evidence, found.origin.basis.target
    if curve := told.get("curve"):
        is_drawn = target.kind in ("quality", "disagreement")
        stands = {"kept_share": told["kept_share"], "target": target.value if is_drawn else None}
        paths = draw_promise({**curve, "policy": stands}, folder)
        yield "Quality and disagreement against the share kept", paths[0]
    if bins := told.get("reliability"):
        paths = draw_reliability({"policy": bins}, ["policy"], folder)
        yield "Observed acceptance against stated confidence", paths[0]
