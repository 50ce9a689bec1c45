"""A request of the Messages API as a chat: which fields pass, and what becomes of the others.

``docs/endpoints.md`` has the table.  Fields that are not named here pass as they came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from gateway.errors import RequestError
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.messages.naming import Place, client_param
from gateway.wire.messages.reply import Terms
from gateway.wire.messages.shape import NULL, missing, read, refused, unsupported
from gateway.wire.messages.tools import chat_tools, tool_choice_fields
from gateway.wire.messages.turns import ChatMessage, conversation_of

# What these ask for is not to be had from the servers behind, and to pass over it would mislead.
REFUSED = frozenset({"compaction", "container", "inference_geo", "mcp_servers", "thread"})
# These change no answer, or are about a bill and a cache that are Anthropic's own.
_IGNORED = frozenset(
    {"betas", "billing_policy", "cache_control", "context_management", "diagnostics"}
    | {"fallback_credit_token", "fallbacks", "speed", "user_profile_id"}
    | {"stream_options"}  # a message's stream always says what it cost
)
# What a chat says in other fields, or in another form.
_ADAPTED = frozenset(
    {"messages", "metadata", "output_config", "output_format", "service_tier", "stop_sequences"}
    | {"system", "thinking", "tool_choice", "tools"}
)
NOT_PASSED = REFUSED | _IGNORED | _ADAPTED
_EMPTY = frozenset({b"null", b"[]", b"{}"})
_SERVICE_TIERS = {"standard_only": "default"}
# Templates know whether to think, not how much.
IS_THINKING = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
# The most that all servers know.
_EFFORTS = {"xhigh": "high", "max": "high"}
_SCHEMA_NAME = "answer"
_GONE_ON_WITH = {"continue_final_message": True, "add_generation_prompt": False}

_Count = Annotated[int, msgspec.Meta(ge=1)]


class MessageMetadata(msgspec.Struct):
    user_id: str | None = None


class Thinking(msgspec.Struct):
    type: str


class OutputFormat(msgspec.Struct):
    type: str
    schema: dict[str, msgspec.Raw] | None = None


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: OutputFormat | None = None


class MessageBody(msgspec.Struct):
    model: str
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    max_tokens: _Count | None = None
    system: msgspec.Raw = NULL
    stop_sequences: list[str] | None = None
    metadata: MessageMetadata | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = NULL
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    service_tier: str | None = None
    chat_template_kwargs: dict[str, msgspec.Raw] | None = None
    n: int | None = None


_known = msgspec.json.Decoder(MessageBody)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ThreadsUnsupported(RequestError):
    """No conversation is kept here; by this code the official client sends all of it each time."""

    code = "thread_unsupported_request"


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """One request: ``fields`` as the client wrote them, and ``chat``, which says the same."""

    fields: Mapping[str, msgspec.Raw]
    chat: Chat
    terms: Terms
    places: Sequence[Place]

    def client_param(self, param: str) -> str:
        """What the client calls a parameter of the chat."""
        return client_param(param, self.places, frozenset(self.fields))


def parse_request(body: bytes, group: str | None, *, is_count: bool = False) -> MessageRequest:
    """Understand a request body.  Raises RequestError, which names the offending parameter.

    ``is_count``: nothing is to be written, so that ``max_tokens`` may be left out.
    """
    try:
        body.decode()  # what passes undecoded goes into pairs too, where it must be readable
        known = read(_known, body, "")
        fields = _fields.decode(body)
        if not is_count:
            _refuse_what_misleads(known, fields)
        conversation = conversation_of(known.system, known.messages)
        begun = _begun(conversation.messages)
        adapted = {
            "messages": conversation.messages,
            **_adapted(known),
            **(_GONE_ON_WITH if begun else {}),
        }
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise RequestError("The body is nested too deeply.") from None
    passed = {name: value for name, value in fields.items() if name not in NOT_PASSED}
    chat = parse_chat(msgspec.json.encode(passed | adapted), group)
    terms = Terms(known.model, known.stop_sequences or (), begun)
    # The usage, and what the gateway says of the answer, stand at the end of every stream.
    chat = msgspec.structs.replace(chat, is_usage_wanted=True)
    return MessageRequest(fields, chat, terms, conversation.places)


def _refuse_what_misleads(known: MessageBody, fields: Mapping[str, msgspec.Raw]) -> None:
    if known.max_tokens is None:
        raise missing("max_tokens")
    for name in sorted(REFUSED.intersection(fields)):
        if bytes(fields[name]) not in _EMPTY:
            kind = ThreadsUnsupported if name == "thread" else RequestError
            raise kind(f"{name}: It is not supported here.", param=name)
    if known.n not in (None, 1):
        raise refused("n", "A message has one answer.")


def _adapted(known: MessageBody) -> dict[str, object]:
    """The fields of a chat that say what the client says in others, but for the messages."""
    fields: dict[str, object] = {}
    if known.stop_sequences:
        fields["stop"] = known.stop_sequences
    if known.metadata is not None and known.metadata.user_id is not None:
        fields["user"] = known.metadata.user_id
    if known.tools:  # an empty list is refused by servers, and not by Anthropic
        fields["tools"] = chat_tools(known.tools)
    if known.service_tier is not None:
        fields["service_tier"] = _SERVICE_TIERS.get(known.service_tier, known.service_tier)
    return fields | tool_choice_fields(known.tool_choice) | _thinking(known) | _output(known)


def _begun(messages: Sequence[ChatMessage]) -> str:
    """The first words of the answer, where the client wrote them."""
    last = messages[-1] if messages else {}
    is_begun = last.get("role") == "assistant" and "tool_calls" not in last
    return str(last["content"]) if is_begun else ""


def _thinking(known: MessageBody) -> dict[str, object]:
    """Whether to think first, in the word that most chat templates know, unless it is said."""
    if known.thinking is None:
        return {}
    kind = known.thinking.type
    if kind not in IS_THINKING:
        raise unsupported("thinking.type", kind)
    wished = {"enable_thinking": IS_THINKING[kind]}
    return {"chat_template_kwargs": {**wished, **(known.chat_template_kwargs or {})}}


def _output(known: MessageBody) -> dict[str, object]:
    fields: dict[str, object] = {}
    config = known.output_config or OutputConfig()
    if config.effort is not None:
        fields["reasoning_effort"] = _EFFORTS.get(config.effort, config.effort)
    wanted, path = known.output_format, "output_format"
    if config.format is not None:
        wanted, path = config.format, "output_config.format"
    if wanted is not None:
        if wanted.type != "json_schema":
            raise unsupported(f"{path}.type", wanted.type)
        if wanted.schema is None:
            raise missing(f"{path}.schema")
        schema = {"name": _SCHEMA_NAME, "schema": wanted.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields
