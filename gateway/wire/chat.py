"""A chat request: what the client wrote, and the little of it that the gateway understands.

Fields that are not named here pass to the model as they came, byte for byte.  Those that reach
into the model server are refused: only an operator may set them, in ``extra_body``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from gateway.errors import RequestError
from gateway.wire.bounds import Size
from gateway.wire.controls import NO_WISH, Wish, take_wish
from gateway.wire.raw import check_readable, is_too_deep
from gateway.wire.reserved import refuse_reserved
from routing.prompt import MAX_GROUP_CHARACTERS, is_group
from routing.vocabulary import Need

MAX_TOP_LOGPROBS = 20
MAX_CHOICES = 128
GROUP_HEADER = "x-understudy-group"
EVIDENCE_TOP_LOGPROBS = 2

# What the gateway does itself, and asks of no model server: of a vendor's it would be kept there.
KEPT_HERE = ("stream", "stream_options", "store", "metadata")

# The forms of ``response_format`` whose text is JSON; it may also be text, or a server's own.
_JSON = frozenset({"json_object", "json_schema"})
_FREE = frozenset({"text"}) | _JSON
# With each of these a server lets only such texts be written as obey a grammar: vLLM's words for
# it, present and past, then llama.cpp's and SGLang's.
_GRAMMARS = frozenset(
    {"structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}
    | {"structural_tag", "grammar", "json_schema", "regex", "ebnf"}
)
# What speaks in token ids, in words of OpenAI's and vLLM's, and how it says nothing.
_TOKEN_IDS = ("logit_bias", "allowed_token_ids", "stop_token_ids")
_NOTHING_SAID = frozenset({b"null", b"{}", b"[]"})
# How many tokens an answer may have, and how many it must have.
MOST_TOKENS = ("max_tokens", "max_completion_tokens")
_LEAST_TOKENS = ("min_tokens",)

Count = Annotated[int, msgspec.Meta(ge=1)]


class AnyObject(msgspec.Struct):
    """Any object: a list that holds something else is refused at its first entry."""


class ContentPart(msgspec.Struct):
    type: str


class ChatMessage(msgspec.Struct):
    role: Annotated[str, msgspec.Meta(min_length=1)]
    content: str | list[ContentPart] | None = None
    tool_calls: list[AnyObject] | None = None


class StreamOptions(msgspec.Struct):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The form that an answer is to have."""

    type: str


class ChatBody(msgspec.Struct):
    model: str
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_p: float | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tools: list[AnyObject] | None = None
    functions: list[AnyObject] | None = None
    tool_choice: str | dict[str, msgspec.Raw] | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, msgspec.Raw] | None = None
    store: bool | None = None
    continue_final_message: bool | None = None


T = TypeVar("T")


class Form(StrEnum):
    """By which of their own protocols models are asked."""

    CHAT = "chat"
    TEXT = "text"


_known = msgspec.json.Decoder(ChatBody)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_count = msgspec.json.Decoder(int | None)
_null = msgspec.Raw(b"null")


class Chat(msgspec.Struct, frozen=True):
    """One chat request.

    ``body`` is what the client sent; ``fields`` its top level, values undecoded.  ``choices`` is
    how many answers it wants.  ``has_grammar``: its text is to obey one from the first token on, in
    words of the server's own, JSON not counted.  ``top_logprobs`` is None where it asked for no
    log-probabilities, else 0 to 20.  ``group`` is the kind of task that it names, in a header.
    ``form`` is how models are asked; ``token_ids_in`` names the first parameter that speaks in
    token ids, which are one tokenizer's own.  ``wish`` is what the body says of who is to answer.
    ``priority`` is the gateway's own, for the model server's queue; None where it has none.
    """

    body: bytes
    fields: Mapping[str, msgspec.Raw]
    model: str
    needs: frozenset[Need]
    choices: int
    is_stream: bool
    is_usage_wanted: bool
    is_json_wanted: bool
    has_grammar: bool
    is_store_allowed: bool
    is_continuation: bool
    top_logprobs: int | None
    group: str | None = None
    size: Size = Size()
    form: Form = Form.CHAT
    token_ids_in: str | None = None
    wish: Wish = NO_WISH
    priority: int | None = None

    @property
    def messages(self) -> msgspec.Raw:
        """The conversation; a bare prompt is taken for a user's words."""
        if self.form is Form.CHAT:
            return self.fields["messages"]
        said = [{"role": "user", "content": self.fields["prompt"]}]
        return msgspec.Raw(msgspec.json.encode(said))

    @property
    def can_go_on(self) -> bool:
        """Whether another model can be shown the beginning of an answer to it."""
        return self.form is Form.CHAT or self.token_ids_in is None

    def has_room_after(self, tokens: int) -> bool:
        """Whether an answer that has so many tokens may have another."""
        return self.most_tokens is None or self.most_tokens > tokens

    @property
    def most_tokens(self) -> int | None:
        """How many tokens an answer may have; None where the client did not say."""
        said = self.size.max_tokens, self.size.max_completion_tokens
        return min([count for count in said if count], default=None)


def group_of(header: bytes | None) -> str | None:
    """The group that a request's header names.  Raises RequestError where that can be none."""
    if header is None:
        return None
    group = header.decode("latin-1")
    if is_group(group):
        return group
    raise RequestError(
        f"The header '{GROUP_HEADER}' must be 1 to {MAX_GROUP_CHARACTERS} of A-Za-z0-9_.:-",
        param=GROUP_HEADER,
    )


def parse_chat(body: bytes, group: str | None = None) -> Chat:
    """Understand a request body.  Raises RequestError, which names the offending parameter."""
    known, fields = read_fields(_known, body)
    wish = take_wish(fields)
    refuse_reserved(fields, known.chat_template_kwargs)
    if known.top_logprobs is not None and not known.logprobs:
        raise RequestError("'top_logprobs' needs 'logprobs': true.", param="top_logprobs")
    options, response_format = known.stream_options, known.response_format
    if options is not None and not known.stream:
        raise RequestError("'stream_options' needs 'stream': true.", param="stream_options")
    return Chat(
        body=body,
        fields=fields,
        model=known.model,
        needs=_needs(known),
        choices=known.n or 1,
        is_stream=bool(known.stream),
        is_usage_wanted=options is not None and bool(options.include_usage),
        is_json_wanted=is_json(response_format),
        has_grammar=has_grammar(response_format, fields),
        is_store_allowed=known.store is not False,
        is_continuation=known.continue_final_message is True,
        top_logprobs=(known.top_logprobs or 0) if known.logprobs else None,
        group=group,
        token_ids_in=token_ids_in(fields),
        wish=wish,
        size=_size(known),
    )


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first words of an answer, and how many tokens they are: another model goes on there.

    That model gets them without the blanks at their end, from which it would derail, and will most
    likely write them itself: ``seam`` is what the client has already.
    """

    text: str
    tokens: int

    @property
    def stem(self) -> str:
        """The text without the blanks at its end."""
        return self.text.rstrip()

    @property
    def seam(self) -> str:
        """The blanks at its end."""
        return self.text[len(self.stem) :]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one model is asked: its name there, what is wanted of it, the operator's extras.

    ``has_running_usage`` says that the server can report usage with every chunk of a stream.
    """

    model: str
    is_evidence_wanted: bool
    has_running_usage: bool
    extra: Mapping[str, msgspec.Raw]


def upstream_body(chat: Chat, dialect: Dialect) -> bytes:
    """The request for a whole answer: the client's fields, our model name, the operator's extras.

    Log-probabilities are asked for where they are evidence, as few as suffice; what the client did
    not ask for is taken out of the answer again.
    """
    return msgspec.json.encode(_upstream_fields(chat, dialect))


def upstream_stream_body(chat: Chat, dialect: Dialect, prefix: Prefix | None) -> bytes:
    """The request for an answer as it comes; from ``prefix`` on where there is one.

    The server's usage is always asked for: the bill rests on it.
    """
    fields = streamed(_upstream_fields(chat, dialect), dialect)
    if prefix is not None:
        messages: list[object] = [*_items.decode(chat.fields["messages"])]
        fields["messages"] = [*messages, {"role": "assistant", "content": prefix.stem}]
        fields["continue_final_message"] = True
        fields["add_generation_prompt"] = False
        fields.pop("echo", None)  # the client has those words already
        fields |= lessened(chat, prefix)
    return msgspec.json.encode(fields)


def streamed(fields: dict[str, object], dialect: Dialect) -> dict[str, object]:
    """The request as one for a stream, which tells what it took."""
    options = {"include_usage": True}
    if dialect.has_running_usage:
        options["continuous_usage_stats"] = True
    return {**fields, "stream": True, "stream_options": options}


def lessened(chat: Chat, prefix: Prefix) -> Mapping[str, object]:
    """How many tokens are left of those that the client asked for."""
    most = {name: max(1, n - prefix.tokens) for name, n in _counts(chat, MOST_TOKENS).items()}
    least = {name: max(0, n - prefix.tokens) for name, n in _counts(chat, _LEAST_TOKENS).items()}
    return most | least


def _counts(chat: Chat, names: Sequence[str]) -> Mapping[str, int]:
    """Those of the fields in which the client gave a number of tokens."""
    said = {name: _count.decode(chat.fields.get(name, _null)) for name in names}
    return {name: count for name, count in said.items() if count is not None}


def fields_of(chat: Chat, dialect: Dialect) -> dict[str, object]:
    """The client's fields, without those that are for the gateway, and with the operator's."""
    fields: dict[str, object] = {**chat.fields, **dialect.extra, "model": dialect.model}
    for name in KEPT_HERE:
        fields.pop(name, None)
    if chat.priority is not None:
        fields["priority"] = chat.priority
    return fields


def _upstream_fields(chat: Chat, dialect: Dialect) -> dict[str, object]:
    fields = fields_of(chat, dialect)
    if dialect.is_evidence_wanted:
        fields["logprobs"] = True
        fields["top_logprobs"] = max(chat.top_logprobs or 0, EVIDENCE_TOP_LOGPROBS)
    return fields


def _size(known: ChatBody) -> Size:
    return Size(
        messages=len(known.messages),
        parts=sum([len(one.content) for one in known.messages if isinstance(one.content, list)]),
        tools=len(known.tools or ()) + len(known.functions or ()),
        max_tokens=known.max_tokens or 0,
        max_completion_tokens=known.max_completion_tokens or 0,
    )


def _needs(known: ChatBody) -> frozenset[Need]:
    needs = set()
    if known.tools or known.functions:
        needs.add(Need.TOOLS)
    for message in known.messages:
        if message.tool_calls or message.role == "tool":
            needs.add(Need.TOOLS)
        if isinstance(message.content, list) and any(
            part.type not in ("text", "refusal") for part in message.content
        ):
            needs.add(Need.VISION)
    return frozenset(needs)


def read_fields(known: msgspec.json.Decoder[T], body: bytes) -> tuple[T, dict[str, msgspec.Raw]]:
    """Decode a body: what is known of it, and its top level with values undecoded.

    Raises RequestError, which names the offending parameter.
    """
    try:
        found = known.decode(body), _fields.decode(body)
        check_readable(body)  # what passes undecoded goes into pairs too
    except msgspec.ValidationError as error:
        raise _wrong_shape(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise RequestError("The body is nested too deeply.") from None
    if is_too_deep(body):
        raise RequestError("The body is nested too deeply.")
    return found


def is_json(response_format: ResponseFormat | None) -> bool:
    """Whether the text is to be JSON."""
    return response_format is not None and response_format.type in _JSON


def token_ids_in(fields: Mapping[str, msgspec.Raw]) -> str | None:
    """The first of the parameters that speak in token ids, if any does."""
    for name in _TOKEN_IDS:
        if name in fields and bytes(fields[name]).translate(None, b" \t\r\n") not in _NOTHING_SAID:
            return name
    return None


def has_grammar(response_format: ResponseFormat | None, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the text is to obey a grammar in words of the server's own."""
    if response_format is not None and response_format.type not in _FREE:
        return True
    if _GRAMMARS.isdisjoint(fields):
        return False
    return any(fields[name] != _null for name in _GRAMMARS.intersection(fields))


def _wrong_shape(message: str) -> RequestError:
    """Turn msgspec's "Expected `str`, got `int` - at `$.model`" into words and a parameter."""
    what, _, path = message.partition(" - at `$")
    param = path.rstrip("`").lstrip(".").replace("[...]", "[]") or None
    if what.startswith("Object missing required field"):
        missing = what.rpartition("field `")[2].rstrip("`")
        param = f"{param}.{missing}" if param else missing
        return RequestError(f"Missing required parameter: '{param}'.", param=param)
    where = f"Invalid '{param}'" if param else "Invalid body"
    return RequestError(f"{where}: {what.replace('`', '')}.", param=param)
