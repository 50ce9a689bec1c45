"""What bodies of requests must be: derived from what reads them, and said in words where that is
code.  Fields that are not named pass to the model server as they came.
"""

from gateway.openapi.responses import response_schemas
from gateway.openapi.structs import (
    NEVER,
    TEXT,
    Schema,
    array,
    derived,
    either,
    maybe,
    one_of,
    properties,
    record,
    ref,
)
from gateway.wire.chat import ChatBody
from gateway.wire.controls import FIELD, Controls
from gateway.wire.messages.request import (
    IS_THINKING,
    NOT_PASSED,
    REFUSED,
    MessageBody,
)
from gateway.wire.messages.sources import Block, Source
from gateway.wire.messages.tools import CHOICES as MESSAGE_CHOICES
from gateway.wire.messages.tools import Tool, ToolChoice
from gateway.wire.passing import PassedBody
from gateway.wire.reserved import OPERATOR_ONLY, OPERATOR_ONLY_TEMPLATE
from gateway.wire.stored import MAX_KEY_CHARACTERS, MAX_PAIRS, MAX_VALUE_CHARACTERS
from gateway.wire.text.request import TextBody

_OTHERS = "Fields that are not named here pass to the model server as they came."
_MODEL = "The name of a cascade, or `CASCADE:student` and `CASCADE:teacher` for keys that may pin."

METADATA: Schema = {
    "type": "object",
    "maxProperties": MAX_PAIRS,
    "propertyNames": {"maxLength": MAX_KEY_CHARACTERS},
    "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARACTERS},
}


def request_schemas() -> dict[str, Schema]:
    """The components."""
    found = derived(
        ChatBody, TextBody, MessageBody, Controls, PassedBody, Block, Source, Tool, ToolChoice
    )
    found["OperatorOnly"] = NEVER | {"description": "Only the gateway's operator may set this."}
    found["Metadata"] = METADATA | {"description": "What a client attaches to a stored completion."}
    found[Controls.__name__]["description"] = (
        "Who is to answer, and the least confidence with which a draft is kept: for keys that may."
    )
    chat = properties(found["ChatBody"])
    _extend(found["ChatBody"], _own_words())
    _extend(found["ChatBody"], {"chat_template_kwargs": _template()})
    _extend(found["TextBody"], _own_words() | {"prompt": _prompt()})
    _extend(found["PassedBody"], _restricted() | _passed())
    found["PassedBody"]["description"] = (
        "The model's server reads the rest: `input`, `prompt`, `tokens`, `query`, `documents` …"
    )
    # What passes unchanged from a message to a chat is read there.
    passing = chat | _own_words()
    passing = {name: each for name, each in passing.items() if name not in NOT_PASSED}
    _extend(found["MessageBody"], passing | _message_words())
    count = found["MessageBody"] | {"required": ["model", "messages"]}
    found["CountBody"] = _without_refusals(count, chat["n"])
    found["MessageBody"]["required"] = ["model", "messages", "max_tokens"]
    _extend(found["MessageBody"], {"max_tokens": {"type": "integer", "minimum": 1}})
    for name in ("ChatBody", "TextBody", "MessageBody", "CountBody"):
        found[name]["description"] = _OTHERS
        _extend(found[name], {"model": TEXT | {"description": _MODEL}})
    found |= _message_parts()
    found |= response_schemas(chat, _own_words())
    found["MetadataUpdate"] = record({"metadata": maybe(ref("Metadata"))}, "metadata")
    return found


def _extend(schema: Schema, more: dict[str, Schema]) -> None:
    schema["properties"] = properties(schema) | more


def _restricted() -> dict[str, Schema]:
    return {name: ref("OperatorOnly") for name in sorted(OPERATOR_ONLY)}


def _own_words() -> dict[str, Schema]:
    return _restricted() | {FIELD: maybe(ref("Controls"))}


def _template() -> Schema:
    return maybe(record({OPERATOR_ONLY_TEMPLATE: ref("OperatorOnly")}))


def _prompt() -> Schema:
    ids = array({"type": "integer"}, minItems=1)
    return either(TEXT, array(TEXT, minItems=1), ids, array(ids, minItems=1)) | {
        "description": "A text, several, token ids, or several lists of these.",
    }


def _passed() -> dict[str, Schema]:
    return {
        "chat_template_kwargs": _template(),
        "encoding_format": one_of("float", "base64", None),
    }


# --- messages ---------------------------------------------------------------------------------


def _message_words() -> dict[str, Schema]:
    schema_format = record(
        {"type": one_of("json_schema"), "schema": {"type": "object"}}, "type", "schema"
    )
    words: dict[str, Schema] = {
        "messages": array(
            either(*map(ref, ("UserTurn", "AssistantTurn", "SystemTurn"))), minItems=1
        ),
        "system": maybe(ref("SystemText")),
        "tools": maybe(array(ref("MessageTool"))),
        "tool_choice": maybe(ref("MessageToolChoice")),
        "thinking": maybe(_narrowed("Thinking", record({"type": one_of(*IS_THINKING)}))),
        "output_format": maybe(schema_format),
        "output_config": maybe(_narrowed("OutputConfig", record({"format": maybe(schema_format)}))),
        "n": one_of(1, None),
        "chat_template_kwargs": _template(),
    }
    refused: Schema = one_of(None, [], {}) | {"description": "Not to be had here."}
    return words | dict.fromkeys(sorted(REFUSED), refused)


def _without_refusals(schema: Schema, choices: Schema) -> Schema:
    """The same for a request of which only the length is wanted: what misleads no answer passes."""
    kept = {name: each for name, each in properties(schema).items() if name not in REFUSED}
    return schema | {"properties": kept | {"n": choices}}


def _narrowed(name: str, schema: Schema) -> Schema:
    """A component, and this too."""
    return {"allOf": [ref(name), schema]}


def _block(kind: str, described: dict[str, Schema], *required: str) -> Schema:
    told = record({"type": one_of(kind)} | described, "type", *required)
    return _narrowed("Block", told)


def _source(kind: str, described: dict[str, Schema], *required: str) -> Schema:
    told = record({"type": one_of(kind)} | described, "type", *required)
    return _narrowed("Source", told)


def _message_parts() -> dict[str, Schema]:
    texts = either(TEXT, array(ref("TextBlock")))
    material = [ref(name) for name in ("TextBlock", "ImageBlock", "DocumentBlock")]
    material.append(ref("SearchResultBlock"))
    image = either(
        _source("url", {"url": TEXT}, "url"),
        _source("base64", {"media_type": TEXT, "data": TEXT}, "media_type", "data"),
    )
    document = either(
        _source("text", {"data": TEXT}, "data"), _source("content", {"content": texts}, "content")
    )
    named: Schema = {"type": "string", "minLength": 1}
    call: dict[str, Schema] = {"id": TEXT, "name": named, "input": {"type": "object"}}
    result = {"tool_use_id": TEXT, "content": maybe(either(TEXT, array(either(*material))))}
    return {
        "TextBlock": _block("text", {"text": TEXT}, "text"),
        "ImageBlock": _block("image", {"source": image}, "source"),
        "DocumentBlock": _block("document", {"source": document}, "source"),
        "SearchResultBlock": _block(
            "search_result", {"source": TEXT, "content": texts}, "source", "content"
        ),
        "ToolResultBlock": _block("tool_result", result, "tool_use_id"),
        "ToolUseBlock": _block("tool_use", call, "id", "name", "input"),
        "ThinkingBlock": _block("thinking", {}),
        "RedactedThinkingBlock": _block("redacted_thinking", {}),
        "SystemText": texts,
        "UserTurn": _turn("user", *material, ref("ToolResultBlock")),
        "AssistantTurn": _turn(
            "assistant",
            *map(ref, ("TextBlock", "ToolUseBlock", "ThinkingBlock", "RedactedThinkingBlock")),
        ),
        "SystemTurn": _turn("system", ref("TextBlock")),
        "MessageTool": _narrowed("Tool", record({"type": one_of("custom", None)})),
        "MessageToolChoice": {
            "allOf": [
                ref("ToolChoice"),
                either(
                    record({"type": one_of(*MESSAGE_CHOICES)}),
                    record({"type": one_of("tool"), "name": named}, "name"),
                ),
            ]
        },
    }


def _turn(role: str, *blocks: Schema) -> Schema:
    content = either(TEXT, array(either(*blocks)))
    return record({"role": one_of(role), "content": content}, "role", "content")
