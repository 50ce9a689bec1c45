"""OpenAI's stored chat completions: what clients ask of them, and the objects that they get.

A client may attach metadata to a completion; what it lists and reads again is found here, as bytes
in and bytes out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec

from gateway.errors import RequestError
from gateway.wire.completion import part_of

MAX_PAIRS = 16
MAX_KEY_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512
MAX_LIMIT = 100
DEFAULT_LIMIT = 20
_MAX_QUERY_FIELDS = 64
# Of a completion's id: it becomes a part of paths, and of Redis' names.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
# What a stored completion says of its request, beside the messages; of most there is none.
ECHOED = (
    "frequency_penalty", "presence_penalty", "response_format", "seed", "temperature",
    "tool_choice", "tools", "top_p", "user",
)  # fmt: skip
_FILTER = re.compile(r"metadata\[(.*)\]", re.DOTALL)

_null = msgspec.Raw(b"null")
_pairs = msgspec.json.Decoder(dict[str, str] | None)
_parts = msgspec.json.Decoder(list[msgspec.Raw])


class Head(msgspec.Struct):
    """What is said of a stored completion.  ``metadata`` is an object of JSON, or a sealed text.

    ``answer_bytes`` is what its answer takes, so that a page can be cut before it is read.
    """

    id: str
    time: float
    tenant: str | None
    request_id: str
    model: str
    metadata: msgspec.Raw
    answer_bytes: int


class _Answer(msgspec.Struct):
    request: dict[str, msgspec.Raw]
    answer: dict[str, msgspec.Raw]


class _Messages(msgspec.Struct):
    messages: list[dict[str, msgspec.Raw]]


class _Request(msgspec.Struct):
    request: _Messages


class _Attached(msgspec.Struct):
    metadata: dict[str, str]


class _Metadata(msgspec.Struct):
    request: _Attached


class _Update(msgspec.Struct):
    metadata: msgspec.Raw


class _Identity(msgspec.Struct):
    id: str


_head = msgspec.json.Decoder(Head)
_answer = msgspec.json.Decoder(_Answer)
_request = msgspec.json.Decoder(_Request)
_metadata = msgspec.json.Decoder(_Metadata)
_update = msgspec.json.Decoder(_Update)
_identity = msgspec.json.Decoder(_Identity)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page that a client wants: at most ``limit``, of those behind ``after`` that suit."""

    after: str | None
    limit: int
    is_ascending: bool
    model: str | None
    metadata: Mapping[str, str]

    @property
    def is_filtered(self) -> bool:
        """Whether it takes a look at each to know which suit."""
        return self.model is not None or bool(self.metadata)

    def suits(self, model: str, metadata: Mapping[str, str]) -> bool:
        """Whether the client wants a completion of that model with that metadata."""
        if self.model is not None and model != self.model:
            return False
        return self.metadata.items() <= metadata.items()


Objects = Sequence[tuple[str, msgspec.Raw]]


@dataclass(frozen=True, slots=True)
class Page:
    """Objects with their ids, and whether there are more behind them."""

    objects: Objects
    has_more: bool


def id_of(completion: bytes) -> str | None:
    """The id that a completion has, where one can be asked for by it."""
    try:
        found = _identity.decode(completion).id
    except msgspec.MsgspecError:
        return None
    return found if ID.fullmatch(found) else None


def metadata_of(sent: msgspec.Raw | None) -> dict[str, str]:
    """What a client attaches to a completion.  Raises RequestError where OpenAI would."""
    try:
        pairs = _pairs.decode(_null if sent is None else sent) or {}
    except msgspec.DecodeError:  # its own text may be broken too: it has not been read before
        raise _wrong("'metadata' must be an object whose values are all strings.") from None
    if len(pairs) > MAX_PAIRS:
        raise _wrong(f"'metadata' has {len(pairs)} pairs; {MAX_PAIRS} are allowed.")
    for key, value in pairs.items():
        if len(key) > MAX_KEY_CHARACTERS:
            raise _wrong(f"A key of 'metadata' has more than {MAX_KEY_CHARACTERS} characters.")
        if len(value) > MAX_VALUE_CHARACTERS:
            raise _wrong(f"A value of 'metadata' has more than {MAX_VALUE_CHARACTERS} characters.")
    return pairs


def read_update(body: bytes) -> dict[str, str]:
    """The metadata that is to take the place of what is there.  Raises RequestError."""
    try:
        body.decode()  # it passes undecoded, and must be readable later
        return metadata_of(_update.decode(body).metadata)
    except msgspec.ValidationError:
        raise _wrong("The body must be an object with 'metadata'.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError("The body is not valid JSON.") from None


def read_listing(query: bytes) -> Listing:
    """The page that an URL's query asks for.  Raises RequestError, which names the parameter."""
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError:
        raise RequestError(f"The query has more than {_MAX_QUERY_FIELDS} fields.") from None
    fields: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in pairs:
        found = _FILTER.fullmatch(name)
        into, key = (fields, name) if found is None else (metadata, found[1])
        if key in into:
            raise RequestError(f"'{name[:MAX_KEY_CHARACTERS]}' stands there twice.", param=name)
        into[key] = value
    order = fields.get("order", "asc")
    if order not in ("asc", "desc"):
        raise RequestError("'order' must be 'asc' or 'desc'.", param="order")
    return Listing(
        after=fields.get("after"),
        limit=_limit(fields.get("limit", str(DEFAULT_LIMIT))),
        is_ascending=order == "asc",
        model=fields.get("model"),
        metadata=metadata_of(msgspec.Raw(msgspec.json.encode(metadata))),
    )


def _limit(said: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", said) or not 1 <= int(said) <= MAX_LIMIT:
        raise RequestError(f"'limit' must be a number from 1 to {MAX_LIMIT}.", param="limit")
    return int(said)


def read_head(head: bytes) -> Head:
    """What is said of a stored completion."""
    return _head.decode(head)


def read_metadata(kept: bytes) -> dict[str, str]:
    """The metadata of a head, in clear."""
    return _metadata.decode(kept).request.metadata


def completion_object(head: Head, metadata: Mapping[str, str], kept: bytes) -> msgspec.Raw:
    """A stored completion as clients read it: what they got, and what is known of the request.

    ``kept`` is its answer, in clear.
    """
    told = _answer.decode(kept)
    said: dict[str, object] = {name: told.request.get(name, _null) for name in ECHOED}
    said["input_user"] = said.pop("user")
    fields = {**said, **told.answer, "request_id": head.request_id, "metadata": metadata}
    return msgspec.Raw(msgspec.json.encode(fields))


def message_objects(completion_id: str, kept: bytes) -> Objects:
    """The messages that a completion answers, each with an id of its own, the first one first.

    A content of several parts is told as ``content_parts``, as OpenAI does.
    """
    objects = []
    for number, message in enumerate(_request.decode(kept).request.messages):
        message_id = f"{completion_id}-{number}"
        content = message.get("content", _null)
        is_in_parts = part_of(_parts, content) is not None
        fields: dict[str, object] = {"name": None, **message, "id": message_id}
        fields["content"] = None if is_in_parts else content
        fields["content_parts"] = content if is_in_parts else None
        objects.append((message_id, msgspec.Raw(msgspec.json.encode(fields))))
    return objects


def list_object(page: Page) -> bytes:
    """A page as clients read it."""
    objects = page.objects
    fields = {
        "object": "list",
        "data": [each for _, each in objects],
        "first_id": objects[0][0] if objects else None,
        "last_id": objects[-1][0] if objects else None,
        "has_more": page.has_more,
    }
    return msgspec.json.encode(fields)


def deleted_object(completion_id: str) -> bytes:
    """The news that a completion is deleted."""
    fields = {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}
    return msgspec.json.encode(fields)


def _wrong(message: str) -> RequestError:
    return RequestError(message, param="metadata")
