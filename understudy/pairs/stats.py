"""``understudy pairs stats``: how much there is in the log, and of what."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from redis.exceptions import ResponseError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.pairs import Audit, NoPair, Pair
from understudy.pairs.store import Log, Source, StreamName, opened, read_of
from understudy.telling import perform

# Counted by value up to so many values, then together: a tenant is a name that somebody made up.
MOST_VALUES = 1000
OTHERS = "(others)"
NONE = "(none)"


def stats(
    *,
    source: Source | None = None,
    stream: StreamName = "pairs",
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Count what is in the log: by reason, student, tenant, day, consent; groups and their lag.

    Parameters
    ----------
    stream
        The pairs, or the audits.
    as_json
        Print JSON instead of tables.
    """

    def work() -> int:
        with opened(source or Source()) as log:
            told = document(log, stream)
        if as_json:
            print(json.dumps(told))
        else:
            _show(told)
        return 0

    return perform("count", work)


@dataclass(slots=True)
class Audited:
    """How often kept drafts differ from what the teacher says, as far as audits tell.

    Each audit stands for as many drafts as it was improbable.  Of what was served degraded it says
    nothing: that was not kept.
    """

    audits: int = 0
    failed: int = 0
    weight: float = 0.0
    loss: float = 0.0

    def add(self, audit: Audit) -> None:
        """Count one audit."""
        if audit.known != "audited":
            return
        self.audits += 1
        self.failed += audit.score is None
        self.weight += 1.0 / audit.propensity
        self.loss += audit.loss / audit.propensity

    def document(self) -> dict[str, Any]:
        """For ``--json``; the share is None where there is none."""
        share = self.loss / self.weight if self.weight else None
        return {"kept_audited": self.audits, "kept_failed": self.failed, "kept_differing": share}


@dataclass(slots=True)
class Tally:
    """Counts over a stream; its memory is bounded however long that is."""

    pairs: int = 0
    unreadable: int = 0
    complete_drafts: int = 0
    sealed: int = 0
    dropped: int = 0
    spliced: int = 0
    oldest: float | None = None
    newest: float | None = None
    stream: StreamName = "pairs"
    audited: Audited = field(default_factory=Audited)
    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {
            name: Counter() for name in ("reason", "student_version", "tenant", "day", "consent")
        }
    )

    def add(self, record: bytes | None) -> None:
        """Count one entry."""
        try:
            pair = read_of(self.stream, record or b"")
        except NoPair:
            self.unreadable += 1
            return
        if isinstance(pair, Audit):
            self.audited.add(pair)
        self.pairs += 1
        self.complete_drafts += pair.draft_complete
        self.sealed += pair.sealed is not None
        self.dropped += pair.dropped is not None
        self.spliced += pair.splice is not None
        self.oldest = pair.time if self.oldest is None else min(self.oldest, pair.time)
        self.newest = pair.time if self.newest is None else max(self.newest, pair.time)
        for name, value in _values(pair):
            counts = self.by[name]
            counts[value if value in counts or len(counts) < MOST_VALUES else OTHERS] += 1


def _values(pair: Pair) -> list[tuple[str, str]]:
    return [
        ("reason", pair.reason or NONE),
        ("student_version", pair.student_version),
        ("tenant", NONE if pair.tenant is None else pair.tenant),
        ("day", datetime.fromtimestamp(pair.time, UTC).date().isoformat()),
        ("consent", consent_of(pair)),
    ]


def consent_of(pair: Pair) -> str:
    """Whether a student may learn from it, and if not, who has not said so."""
    if pair.consent.may_train:
        return "may_train"
    return "no_tenant" if not pair.consent.tenant_may_train else "no_teacher_licence"


def document(log: Log, stream: StreamName) -> dict[str, Any]:
    """All of it, for ``--json``."""
    tally = Tally(stream=stream)
    for entry in log.entries(stream):
        tally.add(entry.pair)
    # Of all its nodes: by a sample of them one long pair is overlooked, or counted many times.
    memory = log.client.memory_usage(log.key(stream), samples=0)
    return {
        "cascade": log.cascade,
        "stream": stream,
        "pairs": tally.pairs,
        "unreadable": tally.unreadable,
        "complete_drafts": tally.complete_drafts,
        "spliced": tally.spliced,
        "sealed": tally.sealed,
        "dropped": tally.dropped,
        **(tally.audited.document() if stream == "audits" else {}),
        "oldest": tally.oldest,
        "newest": tally.newest,
        "memory_bytes": memory,
        **{f"by_{name}": dict(counts.most_common()) for name, counts in tally.by.items()},
        "groups": _groups(log, stream),
        "deletions": log.client.xlen(log.deletions_key),
    }


def _groups(log: Log, stream: StreamName) -> list[dict[str, Any]]:
    try:
        found = log.client.xinfo_groups(log.key(stream))
    except ResponseError:  # there is no such stream, so nobody reads it
        return []
    return [
        {
            "name": group["name"].decode(),
            "consumers": group["consumers"],
            "pending": group["pending"],
            "lag": group.get("lag"),
            "last_delivered": group["last-delivered-id"].decode(),
        }
        for group in found
    ]


def _show(told: dict[str, Any]) -> None:
    console = Console()
    table = Table("", "", show_header=False, title=f"{told['cascade']}: {told['stream']}")
    for name in ("pairs", "complete_drafts", "spliced", "sealed", "dropped", "unreadable"):
        table.add_row(name.replace("_", " "), f"{told[name]:,}")
    if told["stream"] == "audits":
        share = told["kept_differing"]
        table.add_row("of kept drafts", f"{told['kept_audited']:,}")
        table.add_row("without an answer", f"{told['kept_failed']:,}")
        table.add_row("kept drafts that differ", "unknown" if share is None else f"{share:.2%}")
    for name in ("oldest", "newest"):
        table.add_row(name, _time(told[name]))
    memory = told["memory_bytes"]
    table.add_row("memory", "unknown" if memory is None else f"{memory / 2**20:,.1f} MiB")
    table.add_row("deletions asked for", f"{told['deletions']:,}")
    console.print(table)
    for name in ("reason", "student_version", "tenant", "day", "consent"):
        counts = Table(name.replace("_", " "), "pairs")
        for value, count in told[f"by_{name}"].items():
            counts.add_row(Text(value), f"{count:,}")
        console.print(counts)
    if told["groups"]:
        groups = Table("group", "consumers", "pending", "lag")
        for group in told["groups"]:
            lag = "unknown" if group["lag"] is None else f"{group['lag']:,}"
            groups.add_row(
                Text(group["name"]), f"{group['consumers']:,}", f"{group['pending']:,}", lag
            )
        console.print(groups)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
