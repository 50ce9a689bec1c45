"""What a candidate and the incumbent came to while one was tried: counts that add up over replicas.

Each replica writes its own counts, absolute ones, so that whoever reads them twice, or after a
replica died, counts nothing twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

from routing.document import count, known, named, number
from routing.errors import PolicyError


class Drafted(StrEnum):
    """What came of a request to a student that is tried, or that it is held against."""

    KEPT = "kept"
    DEFERRED = "deferred"
    FAILED = "failed"
    SKIPPED = "skipped"  # in the shadow stage: not asked for, for want of room


class Compared(StrEnum):
    """What came of comparing a draft with another answer to the same request."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class _Counts:
    def add(self, other: Self) -> None:
        """Add the counts of another to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def document(self) -> dict[str, int]:
        """The counts by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def read(cls, document: object, path: str) -> Self:
        """The counts of a document.  Raises PolicyError."""
        names = frozenset(each.name for each in fields(cls))
        found = known(document, path, names)
        return cls(**{name: count(found[name], f"{path}.{name}", least=0) for name in names})


@dataclass(slots=True)
class ArmTally(_Counts):
    """Requests of one arm.

    ``drafts`` are those on which the arm's policy has spoken, of which ``deferred`` were not
    enough, or not worth asking for; ``failed`` are requests beside these whose student gave no
    answer, through a fault of its own.  Of those that would have been kept ``held_out`` were
    answered by the teacher as well and compared: ``different`` differed materially.  ``unknown``
    were held out beside these, and nobody can say.
    """

    drafts: int = 0
    deferred: int = 0
    failed: int = 0
    held_out: int = 0
    different: int = 0
    unknown: int = 0

    def drafted(self, outcome: Drafted) -> None:
        """Count what came of one request."""
        if outcome is Drafted.FAILED:
            self.failed += 1
        else:
            self.drafts += 1
            self.deferred += outcome is Drafted.DEFERRED

    def compared(self, outcome: Compared) -> None:
        """Count what a held-out draft came to beside the teacher's answer."""
        if outcome is Compared.UNKNOWN:
            self.unknown += 1
        else:
            self.held_out += 1
            self.different += outcome is Compared.DIFFERENT


@dataclass(slots=True)
class ShadowTally(_Counts):
    """Drafts of the candidate beside requests that were answered without it.

    On ``drafts`` the candidate's policy has spoken; ``failed`` were not had, ``skipped`` not asked
    for, for want of room.  Of ``drafts`` the candidate would have kept ``kept``, the incumbent
    ``incumbent_kept`` of its own, and both ``both_kept``.  Of the candidate's ``compared`` met a
    teacher's answer, of which ``different`` differed materially; where there was none, those that
    both keep met the incumbent's: of ``both_compared`` ``changed`` differed.  ``unknown`` met one
    of these, and nobody can say.
    """

    drafts: int = 0
    failed: int = 0
    skipped: int = 0
    kept: int = 0
    incumbent_kept: int = 0
    compared: int = 0
    different: int = 0
    both_kept: int = 0
    both_compared: int = 0
    changed: int = 0
    unknown: int = 0

    def drafted(self, outcome: Drafted, *, is_incumbents_kept: bool) -> None:
        """Count what came of asking the candidate."""
        if outcome is Drafted.SKIPPED:
            self.skipped += 1
        elif outcome is Drafted.FAILED:
            self.failed += 1
        else:
            self.drafts += 1
            self.kept += outcome is Drafted.KEPT
            self.incumbent_kept += is_incumbents_kept
            self.both_kept += outcome is Drafted.KEPT and is_incumbents_kept

    def met_teacher(self, outcome: Compared) -> None:
        """Count what a draft that would be kept came to beside the teacher's answer."""
        if outcome is Compared.UNKNOWN:
            self.unknown += 1
        else:
            self.compared += 1
            self.different += outcome is Compared.DIFFERENT

    def met_incumbent(self, outcome: Compared) -> None:
        """Count what it came to beside the draft that the incumbent kept."""
        if outcome is Compared.UNKNOWN:
            self.unknown += 1
        else:
            self.both_compared += 1
            self.changed += outcome is Compared.DIFFERENT


@dataclass(slots=True)
class Tallies:
    """All counts of one rollout, of one replica or of several."""

    incumbent: ArmTally
    candidate: ArmTally
    shadow: ShadowTally

    @classmethod
    def empty(cls) -> "Tallies":
        """No counts yet."""
        return cls(ArmTally(), ArmTally(), ShadowTally())


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What one replica says of itself every second or so.

    ``at`` is seconds since 1970.  ``revision`` is that of the state in force there, 0 without one;
    ``open`` how many requests are under way by student version.  ``refused`` says why the newest
    state could not be taken up, None where it was.  ``tallies`` are those of ``rollout``.
    """

    at: float
    revision: int
    open: Mapping[str, int]
    refused: str | None
    rollout: str | None
    tallies: Tallies


def heartbeat_document(heartbeat: Heartbeat) -> dict[str, Any]:
    """As JSON has it."""
    tallies = heartbeat.tallies
    return {
        "at": heartbeat.at,
        "revision": heartbeat.revision,
        "open": dict(heartbeat.open),
        "refused": heartbeat.refused,
        "rollout": heartbeat.rollout,
        "incumbent": tallies.incumbent.document(),
        "candidate": tallies.candidate.document(),
        "shadow": tallies.shadow.document(),
    }


def heartbeat_from_document(document: object) -> Heartbeat:
    """Read a heartbeat, one of a later release as far as it is known.  Raises PolicyError."""
    keys = frozenset(
        {"at", "revision", "open", "refused", "rollout", "incumbent", "candidate", "shadow"}
    )
    found = known(document, "heartbeat", keys)
    opened = named(found["open"], "open")
    return Heartbeat(
        at=number(found["at"], "at"),
        revision=count(found["revision"], "revision", least=0),
        open={version: count(each, f"open.{version}", least=0) for version, each in opened.items()},
        refused=_text_or_none(found["refused"], "refused"),
        rollout=_text_or_none(found["rollout"], "rollout"),
        tallies=Tallies(
            ArmTally.read(found["incumbent"], "incumbent"),
            ArmTally.read(found["candidate"], "candidate"),
            ShadowTally.read(found["shadow"], "shadow"),
        ),
    )


def together(heartbeats: Iterable[Heartbeat], rollout: str) -> Tallies:
    """The counts of one rollout over all replicas, those that are gone included."""
    total = Tallies.empty()
    for heartbeat in heartbeats:
        if heartbeat.rollout == rollout:
            total.incumbent.add(heartbeat.tallies.incumbent)
            total.candidate.add(heartbeat.tallies.candidate)
            total.shadow.add(heartbeat.tallies.shadow)
    return total


def _text_or_none(value: object, path: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PolicyError(f"{path}: must be a text or null, got {value!r}")
    return value
