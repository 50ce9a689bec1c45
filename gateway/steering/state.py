"""What the controller of a cascade last wrote, as the store and the state directory hold it."""

from collections.abc import Mapping

import msgspec

from routing.steering import KEEP_NOTHING, Report, Standing

SCHEMA_VERSION = 1


class _Said(msgspec.Struct):
    """A standing as JSON has it: a threshold that keeps nothing is null."""

    revision: int
    epoch: int
    threshold: float | None
    audit: float
    complete: float
    per_usd: float | None
    cap_pico: int | None
    shares: Mapping[str, float]
    line: str


class State(msgspec.Struct):
    """``revision`` grows by 1 with each that is written.

    ``aim`` is the digest of what the controller holds to, for the student that ``subject`` names;
    ``version`` is that of the order which it follows, 0 the file's; ``replica`` is the process,
    ``since`` when that began, ``at`` when it wrote this, both in seconds since 1970; ``cursor`` the
    last report that is in it.  ``document`` is the controller's own.
    """

    schema_version: int
    revision: int
    aim: str
    subject: str
    replica: str
    since: float
    at: float
    cursor: str
    said: _Said
    document: msgspec.Raw
    shown: msgspec.Raw = msgspec.Raw(b"null")
    version: int = 0

    @property
    def standing(self) -> Standing:
        """What holds."""
        said = self.said
        return Standing(
            revision=said.revision,
            epoch=said.epoch,
            threshold=KEEP_NOTHING if said.threshold is None else said.threshold,
            audit=said.audit,
            complete=said.complete,
            per_usd=said.per_usd,
            cap_pico=said.cap_pico,
            shares=said.shares,
            line=said.line,
        )


_states = msgspec.json.Decoder(State)
_reports = msgspec.json.Decoder(Report)


def said_of(standing: Standing) -> _Said:
    """A standing for a state."""
    return _Said(
        revision=standing.revision,
        epoch=standing.epoch,
        threshold=None if standing.threshold == KEEP_NOTHING else standing.threshold,
        audit=standing.audit,
        complete=standing.complete,
        per_usd=standing.per_usd,
        cap_pico=standing.cap_pico,
        shares=standing.shares,
        line=standing.line,
    )


def state_from(content: bytes) -> State:
    """Read a state.  Raises ValueError where it is none, or another release wrote it."""
    state = _states.decode(content)
    if state.schema_version != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version: must be {SCHEMA_VERSION}, got {state.schema_version}: another "
            "release wrote it"
        )
    return state


def report_from(content: bytes) -> Report:
    """Read a report.  Raises ValueError where it is none."""
    return _reports.decode(content)
