"""What is stored of one completion: the record that the journal holds and Redis takes apart.

What client and models said is kept as a pair's content is: redacted, then sealed, part by part, so
that a list of completions needs no messages.  What can be kept in neither way is not stored.
"""

from dataclasses import dataclass

import msgspec

from gateway.safekeeping import REDACTOR_FAILED, Safekeeping
from gateway.stores.completion_scripts import SCHEMA_VERSION, Record
from gateway.wire.chat import Chat
from gateway.wire.raw import one_line
from gateway.wire.stored import ECHOED, Head, id_of

# Why a completion is not stored, beside what the journal says.
NO_ID = "no_id"
LOSSES = (NO_ID, REDACTOR_FAILED)

_token = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Whose completion it is, and since when: ``time`` counts seconds from 1970."""

    tenant: str | None
    request_id: str
    time: float


class NotStorable(Exception):
    """A completion cannot be stored: ``cause`` is one of LOSSES."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def stored_record(
    chat: Chat, metadata: dict[str, str], completion: bytes, stamp: Stamp, safekeeping: Safekeeping
) -> bytes:
    """One completion, as the client got it, with the messages that it answers.

    Raises NotStorable.
    """
    completion_id = id_of(completion)
    if completion_id is None:
        raise NotStorable(NO_ID)
    said = {name: chat.fields[name] for name in ECHOED if name in chat.fields}
    answer = _kept(safekeeping, {"request": said, "answer": msgspec.Raw(completion)})
    request = _kept(safekeeping, {"request": {"messages": chat.fields["messages"]}})
    head = Head(
        id=completion_id,
        time=stamp.time,
        tenant=stamp.tenant,
        request_id=stamp.request_id,
        model=chat.model,
        metadata=kept_metadata(metadata, safekeeping),
        answer_bytes=len(bytes(answer)),
    )
    record = Record(
        schema_version=SCHEMA_VERSION,
        time=stamp.time,
        tenant=stamp.tenant,
        request_id=stamp.request_id,
        id=completion_id,
        head=msgspec.Raw(msgspec.json.encode(head)),
        answer=answer,
        request=request,
    )
    return msgspec.json.encode(record)


def kept_metadata(metadata: dict[str, str], safekeeping: Safekeeping) -> msgspec.Raw:
    """What a client attached to a completion, as it may be written.  Raises NotStorable."""
    return _kept(safekeeping, {"request": {"metadata": metadata}})


def _kept(safekeeping: Safekeeping, part: object) -> msgspec.Raw:
    """A part as JSON: an object in clear, a text sealed.

    It is named as a pair's content is, so that the redactor knows what in it is the protocol's.
    """
    kept = safekeeping.keep(one_line(msgspec.json.encode(part)))
    if kept.dropped is not None:
        raise NotStorable(kept.dropped)
    if kept.sealed is not None:
        return msgspec.Raw(msgspec.json.encode(kept.sealed))
    return msgspec.Raw(kept.content or b"{}")


def sealed_in(part: bytes) -> str | None:
    """The token of a part that is sealed; None where it is in clear."""
    return None if part.startswith(b"{") else _token.decode(part)
