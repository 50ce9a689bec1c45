"""The data card: what a data set is made of, and what was left out of it and why.

It goes with the files: as JSON for programmes, as Markdown for people.  Every pair that was read is
accounted for: a step's ``left_out`` sums up to what went in less what came out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from distill.causes import Cause

CARD_VERSION = 1
CARD_NAME = "card.json"
READABLE_NAME = "card.md"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of choosing: how many pairs went in, how many came out, and why not the others."""

    name: str
    went_in: int
    left_out: Mapping[str, int]

    @property
    def came_out(self) -> int:
        """What the next step got."""
        return self.went_in - sum(self.left_out.values())


@dataclass(frozen=True, slots=True)
class Written:
    """One file of the data set."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class Content:
    """What the rows of one format are."""

    by_reason: Counter[str] = field(default_factory=Counter)
    by_student_version: Counter[str] = field(default_factory=Counter)
    by_teacher_version: Counter[str] = field(default_factory=Counter)
    by_policy_version: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[str] = field(default_factory=Counter)
    prompt_characters: Counter[int] = field(default_factory=Counter)
    target_characters: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Made:
    """The files of one format, how they were chosen, and what is in them."""

    form: str
    steps: Sequence[Step]
    files: Sequence[Written]
    content: Content


@dataclass(frozen=True, slots=True)
class Card:
    """All of it.  ``options`` are the filters and choices; ``versions`` what made the set."""

    made_at: str
    source: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    steps: Sequence[Step]
    without_consent: Sequence[Mapping[str, Any]]
    formats: Sequence[Made]
    notes: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """The card as JSON has it."""
        return {
            "card_version": CARD_VERSION,
            "made_at": self.made_at,
            "source": dict(self.source),
            "options": dict(self.options),
            "versions": dict(self.versions),
            "steps": [step_document(step) for step in self.steps],
            "without_consent": list(self.without_consent),
            "formats": {made.form: _made(made) for made in self.formats},
            "notes": list(self.notes),
        }

    def encoded(self) -> bytes:
        """The same, for a file."""
        return msgspec.json.format(msgspec.json.encode(self.document()), indent=1) + b"\n"

    def readable(self) -> str:
        """The same, for people."""
        return readable_card(self.document())


def readable_card(document: Mapping[str, Any]) -> str:
    """A card's document for people."""
    return "\n".join(_readable(document)) + "\n"


def left_out_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by cause in the order of the list of causes, without those that left out nothing."""
    return {cause.value: counts[cause] for cause in Cause if counts.get(cause)}


def step_document(step: Step) -> dict[str, Any]:
    """A step as the card has it."""
    return {
        "step": step.name,
        "in": step.went_in,
        "out": step.came_out,
        "left_out": left_out_first(step.left_out),
    }


def written_document(each: Written) -> dict[str, Any]:
    """A file as the card has it."""
    return {"name": each.name, "rows": each.rows, "bytes": each.bytes, "sha256": each.sha256}


def _made(made: Made) -> dict[str, Any]:
    content = made.content
    return {
        "steps": [step_document(step) for step in made.steps],
        "files": [written_document(each) for each in made.files],
        "reasons": _most_first(content.by_reason),
        "student_versions": _most_first(content.by_student_version),
        "teacher_versions": _most_first(content.by_teacher_version),
        "policy_versions": _most_first(content.by_policy_version),
        "tenants": _most_first(content.by_tenant),
        "prompt_characters": _histogram(content.prompt_characters),
        "target_characters": _histogram(content.target_characters),
    }


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _histogram(counts: Counter[int]) -> list[dict[str, int]]:
    return [{"at_most": at_most, "rows": counts[at_most]} for at_most in sorted(counts)]


def _readable(told: Mapping[str, Any]) -> Iterable[str]:
    yield "# Data card"
    yield ""
    yield f"Made {told['made_at']} by {_listed(told['versions'])}."
    yield ""
    yield from _table("Source", told["source"])
    yield from _table("Options", told["options"])
    if "curation" in told:
        yield from _table("Curation", told["curation"])
    yield "## What was chosen"
    yield ""
    yield "| format | step | in | out | left out |"
    yield "| --- | --- | --- | --- | --- |"
    yield from (_line("all", step) for step in told["steps"])
    for form, made in told["formats"].items():
        yield from (_line(form, step) for step in made["steps"])
    yield ""
    if told["without_consent"]:
        yield "## Left out for want of consent"
        yield ""
        yield "| cascade | tenant | teacher | cause | pairs |"
        yield "| --- | --- | --- | --- | --- |"
        for each in told["without_consent"]:
            tenant = each["tenant"] or "(none)"
            cells = (each["cascade"], tenant, each["teacher"], each["cause"], each["pairs"])
            yield f"| {' | '.join(map(_cell, cells))} |"
        yield ""
    for form, made in told["formats"].items():
        yield from _format(form, made)
    if told["notes"]:
        yield "## Notes"
        yield ""
        yield from (f"- {note}" for note in told["notes"])


def _format(form: str, made: Mapping[str, Any]) -> Iterable[str]:
    yield f"## {form}"
    yield ""
    yield "| file | rows | bytes | sha256 |"
    yield "| --- | --- | --- | --- |"
    for each in made["files"]:
        yield f"| {each['name']} | {each['rows']:,} | {each['bytes']:,} | `{each['sha256']}` |"
    yield ""
    counted = ("reasons", "student_versions", "teacher_versions", "policy_versions", "tenants")
    # A curated data set's rows no longer say where they come from: its source's card does.
    for name in filter(made.__contains__, counted):
        yield f"- {name.replace('_', ' ')}: {_listed(made[name])}"
    for name in filter(made.__contains__, ("prompt_characters", "target_characters")):
        buckets = ", ".join(f"≤{each['at_most']:,}: {each['rows']:,}" for each in made[name])
        yield f"- {name.replace('_', ' ')}: {buckets or 'none'}"
    yield ""


def _table(title: str, values: Mapping[str, Any]) -> Iterable[str]:
    yield f"## {title}"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for name, value in values.items():
        yield f"| {name.replace('_', ' ')} | {_cell(value)} |"
    yield ""


def _line(form: str, step: Mapping[str, Any]) -> str:
    left_out = _listed(step["left_out"])
    return f"| {form} | {step['step']} | {step['in']:,} | {step['out']:,} | {left_out} |"


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{_cell(name)} {_cell(value)}" for name, value in counts.items()) or "none"


def _cell(value: object) -> str:
    """A value in a table: what a tenant or a version is named must not break it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(map(_cell, value)) or "none"
        case None:
            return "any"
        case _:
            return " ".join(str(value).replace("|", "/").split())
