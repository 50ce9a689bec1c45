"""``clusters.json``: the kinds of prompts of a data set, and where the student fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.dataset import DataError
from distill.failures import Rate

SCHEMA_VERSION = 1
NAME, READABLE_NAME = "clusters.json", "clusters.md"
# So many rows of a cluster are named: a few to look at, enough to show a teacher.
MOST_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Cluster:
    """One kind of prompt.

    ``rows`` are those of the curated data set, ``escalations`` those that it was made of.
    ``failures`` is None where nobody knows, ``is_failing`` then too.
    """

    id: int
    telling: tuple[str, ...]
    rows: int
    escalations: int
    examples: tuple[str, ...]
    failures: Rate | None = None
    is_failing: bool | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return ", ".join(self.telling[:3]) or "(no words)"


@dataclass(frozen=True, slots=True)
class Clusters:
    """All of them.  ``made_with`` says how they were found: vectors, seed, rule, silhouettes.

    ``failures_from`` says whose failures are counted, None where nobody's.
    """

    clusters: Sequence[Cluster]
    failing_from: float
    failures_from: str | None
    overall: Rate | None
    made_with: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The file."""
        return {
            "schema_version": SCHEMA_VERSION,
            "made_with": dict(self.made_with),
            "failing_from": self.failing_from,
            "failures_from": self.failures_from,
            "overall": None if self.overall is None else self.overall.document(),
            "clusters": [_document(each) for each in self.clusters],
        }

    def encoded(self) -> bytes:
        """The same, for a file."""
        return msgspec.json.format(msgspec.json.encode(self.document()), indent=1) + b"\n"

    def readable(self) -> str:
        """The same, for people."""
        return "\n".join(_readable(self)) + "\n"


def _document(each: Cluster) -> dict[str, Any]:
    return {
        "id": each.id,
        "name": each.name,
        "telling": list(each.telling),
        "rows": each.rows,
        "escalations": each.escalations,
        "failures": None if each.failures is None else each.failures.document(),
        "failing": each.is_failing,
        "examples": list(each.examples),
    }


class _Failures(msgspec.Struct):
    rate: float
    low: float
    high: float
    records: int


class _Cluster(msgspec.Struct):
    id: int
    telling: tuple[str, ...]
    rows: int
    escalations: int
    examples: tuple[str, ...]
    failures: _Failures | None = None
    failing: bool | None = None


class _File(msgspec.Struct):
    schema_version: int
    failing_from: float
    clusters: list[_Cluster]
    failures_from: str | None = None
    overall: _Failures | None = None
    made_with: dict[str, Any] = msgspec.field(default_factory=dict)


_file = msgspec.json.Decoder(_File)


def read_clusters(content: bytes, name: str) -> Clusters:
    """Read the file.  Raises DataError."""
    try:
        read = _file.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{name}: is no list of clusters: {error}") from None
    if read.schema_version != SCHEMA_VERSION:
        raise DataError(
            f"{name}: has schema version {read.schema_version}, and this is for {SCHEMA_VERSION}"
        )
    return Clusters(
        [_cluster(each) for each in read.clusters],
        read.failing_from,
        read.failures_from,
        _rate(read.overall),
        read.made_with,
    )


def _cluster(each: _Cluster) -> Cluster:
    return Cluster(
        each.id,
        each.telling,
        each.rows,
        each.escalations,
        each.examples,
        _rate(each.failures),
        each.failing,
    )


def _rate(read: _Failures | None) -> Rate | None:
    return None if read is None else Rate(read.rate, read.low, read.high, read.records)


def _readable(told: Clusters) -> Iterator[str]:
    yield "# Clusters of prompts"
    yield ""
    whose = {"records": "all drafts of evaluation records", "pairs": "drafts that were escalated"}
    counted = whose.get(told.failures_from or "", "none: nobody said which drafts fail")
    yield f"Failures are those of {counted}. Failing: above {told.failing_from:.0%}, with 95%."
    if told.overall is not None:
        yield f"Overall: {_told(told.overall)}."
    yield ""
    yield "| cluster | telling words | rows | escalations | failures | failing |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in told.clusters:
        failing = {None: "unknown", True: "yes", False: "no"}[each.is_failing]
        failures = "unknown" if each.failures is None else _told(each.failures)
        words = ", ".join(each.telling) or "(no words)"
        yield (
            f"| {each.id} | {words} | {each.rows:,} | {each.escalations:,} | {failures} "
            f"| {failing} |"
        )
    yield ""
    for name, value in told.made_with.items():
        yield f"- {name.replace('_', ' ')}: {value}"


def _told(rate: Rate) -> str:
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%}) of {rate.records:,}"
