"""One pair, as every reader has it: what the gateway wrote, older versions brought up to this one.

``content`` keeps the payloads undecoded: most readers never look into them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec

SCHEMA_VERSION = 2
# What counts something fits into a column of a table, and a time is of a year of four digits.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]
_NULL = msgspec.Raw(b"null")


class NoPair(ValueError):
    """What is no record of a pair, or audit, that this version can read; the message says why."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether the tenant lets a model learn from its traffic, and the teacher's licence from it."""

    tenant_may_train: bool
    teacher_outputs_may_train: bool

    @property
    def may_train(self) -> bool:
        """Whether a student may learn from this."""
        return self.tenant_may_train and self.teacher_outputs_may_train


@dataclass(frozen=True, slots=True)
class Leg:
    """One call to a model.  Counts are None where nobody knows them; money is decimal text."""

    role: str
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: str | None = None
    seconds: float = 0.0
    error: str | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Splice:
    """The answer goes on from the draft's first words: it is nobody's, and no training target."""

    handover: str
    after_tokens: _Count
    after_characters: _Count


class Content(msgspec.Struct, frozen=True):
    """The OpenAI payloads, as JSON; ``draft`` is null where there was none.

    ``released`` is what the client had of the draft when the teacher took over, else None.
    """

    request: msgspec.Raw
    answer: msgspec.Raw
    draft: msgspec.Raw = _NULL
    released: str | None = None

    @property
    def draft_or_none(self) -> bytes | None:
        """The draft, where there was one."""
        draft = bytes(self.draft)
        return None if draft == b"null" else draft


@dataclass(frozen=True, slots=True)
class Pair:
    """One escalation, in the words of docs/pairs.md.

    Exactly one of ``content``, ``sealed`` (encrypted content) and ``dropped`` (why there is none)
    is not None.  ``written_version`` is the schema that it was written in.
    """

    id: str
    time: _Time
    cascade: str
    request_id: str
    student_version: str
    teacher_model: str
    policy_version: str
    consent: Consent
    served_by: str = "teacher"
    teacher_version: str = ""
    completes: str | None = None
    tenant: str | None = None
    is_stream: bool | None = None
    reason: str | None = None
    group: str | None = None
    confidence: float | None = None
    merit: float | None = None
    signals: Mapping[str, float | None] = field(default_factory=dict)
    propensity: float = 1.0
    samples: _Count = 1
    legs: tuple[Leg, ...] = ()
    draft_complete: bool = False
    splice: Splice | None = None
    redactor: str | None = None
    dropped: str | None = None
    content: Content | None = None
    sealed: str | None = None
    written_version: Annotated[int, msgspec.Meta(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Audit(Pair):
    """One audit, in the words of docs/audits.md: a pair whose draft the client got.

    ``content.answer`` is null where the teacher gave none.  ``score`` is None where nobody could
    say how far the two agree, which is a ``loss`` of 1.
    """

    propensity: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    kind: str = "audit"
    known: str = "audited"
    degraded: str | None = None
    epoch: int | None = None
    known_with: float = 1.0
    least: float = 1.0
    score: float | None = None
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    comparator: str = ""
    at_least: float = 1.0


class _Version(msgspec.Struct):
    schema_version: int


class _SpliceOne(msgspec.Struct):
    handover: str
    after_tokens: _Count
    released: str


class _VersionOne(msgspec.Struct):
    """What version 1 has that version 2 says otherwise."""

    may_train: bool
    teacher_model: str
    request: msgspec.Raw
    answer: msgspec.Raw
    draft: msgspec.Raw = _NULL
    splice: _SpliceOne | None = None


class Subject(msgspec.Struct, frozen=True):
    """Whose record it is, as far as it says so."""

    request_id: str = ""
    tenant: str | None = None
    time: float = 0.0


P = TypeVar("P", bound=Pair)

_version = msgspec.json.Decoder(_Version)
_subject = msgspec.json.Decoder(Subject)
_pair = msgspec.json.Decoder(Pair)
_audit = msgspec.json.Decoder(Audit)
_one = msgspec.json.Decoder(_VersionOne)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_content = msgspec.json.Decoder(Content)
_NEW_IN_TWO = ("request", "draft", "answer", "splice", "may_train")


def read_pair(record: bytes) -> Pair:
    """Read a record of any version up to this one.  Raises NoPair."""
    return _read(record, _pair)


def read_audit(record: bytes) -> Audit:
    """The same of an audit.  Raises NoPair."""
    return _read(record, _audit)


def _read(record: bytes, decoder: msgspec.json.Decoder[P]) -> P:
    try:
        record.decode()  # payloads are not decoded here, and must be text where they go
        version = _version.decode(record).schema_version
        if version > SCHEMA_VERSION:
            raise NoPair(f"has schema version {version}, and this is for {SCHEMA_VERSION} at most")
        pair = decoder.decode(record if version == SCHEMA_VERSION else _from_one(record))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoPair(f"is no pair: {error}") from None
    except RecursionError:
        raise NoPair("is nested too deeply") from None
    if sum(each is not None for each in (pair.content, pair.sealed, pair.dropped)) != 1:
        raise NoPair("must have one of content, sealed and dropped")
    return pair


def subject_of(record: bytes) -> Subject | None:
    """Whose record that is, of any version, and whether it is readable else or not."""
    try:
        return _subject.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _from_one(record: bytes) -> bytes:
    """A version 1 record in version 2's words: it knew one consent, and no content of its own."""
    one, fields = _one.decode(record), _fields.decode(record)
    content, spliced = Content(one.request, one.answer, one.draft), None
    if (splice := one.splice) is not None:
        spliced = Splice(splice.handover, splice.after_tokens, len(splice.released))
        content = Content(one.request, one.answer, one.draft, splice.released)
    added: dict[str, Any] = {
        "written_version": 1,
        "teacher_version": one.teacher_model,
        "consent": Consent(tenant_may_train=True, teacher_outputs_may_train=one.may_train),
        "splice": spliced,
        "content": content,
    }
    kept = {name: value for name, value in fields.items() if name not in _NEW_IN_TWO}
    return msgspec.json.encode(kept | added)


def read_content(content: bytes) -> Content:
    """Content that was sealed, opened.  Raises NoPair."""
    try:
        return _content.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoPair(f"its sealed content is none: {error}") from None
