"""What a request for a response must be: ``gateway/wire/responses`` reads it piece by piece, so it
is said here in a table of its own, and the tests hold the two together.
"""

from gateway.openapi.structs import (
    TEXT,
    Schema,
    array,
    either,
    maybe,
    one_of,
    properties,
    record,
    ref,
)
from gateway.wire.chat import MAX_TOP_LOGPROBS
from gateway.wire.responses.items import ROLES
from gateway.wire.responses.parameters import MOVED
from gateway.wire.responses.parameters import REFUSED as NOT_HAD
from gateway.wire.responses.request import CHOICES, INCLUDABLE, OWN, TRUNCATIONS

_FLAG = maybe({"type": "boolean"})
_STRING = maybe(TEXT)


def response_schemas(chat: dict[str, Schema], own_words: dict[str, Schema]) -> dict[str, Schema]:
    """The components; ``chat`` are the properties of a chat, some of which pass."""
    passing = {name: each for name, each in chat.items() if name not in OWN and name not in MOVED}
    moved = {
        name: one_of(None) | {"description": f"In responses it is `{place}`."}
        for name, place in MOVED.items()
    }
    refused = {
        name: one_of(None, False, []) | {"description": f"Not supported: {why}."}
        for name, why in NOT_HAD.items()
    }
    count: Schema = {"type": "integer", "minimum": 1}
    described: dict[str, Schema] = {
        "model": TEXT | {"description": "The name of a cascade."},
        "input": either(TEXT, array(ref("ResponseItem"), minItems=1)),
        "instructions": _STRING,
        "tools": maybe(array(ref("ResponseTool"))),
        "tool_choice": maybe(either(one_of(*sorted(CHOICES)), ref("ResponseToolChoice"))),
        "parallel_tool_calls": _FLAG,
        "text": maybe(record({"format": maybe(ref("ResponseTextFormat"))})),
        "reasoning": maybe({"type": "object"}),
        "max_output_tokens": maybe(count),
        "include": maybe(array(one_of(*sorted(INCLUDABLE)))),
        "top_logprobs": maybe({"type": "integer", "minimum": 0, "maximum": MAX_TOP_LOGPROBS}),
        "store": _FLAG,
        "stream": _FLAG,
        "stream_options": maybe({"type": "object"}),
        "metadata": maybe({"type": "object"}),
        "truncation": maybe(one_of(*sorted(TRUNCATIONS))),
        "n": one_of(1, None),
    }
    body = record(own_words | passing | moved | refused | described, "model", "input")
    body["description"] = "Fields that are not named here pass to the model server as they came."
    return {"ResponseBody": body} | _items() | _tools()


def _items() -> dict[str, Schema]:
    parts = array(ref("ResponsePart"))
    message = record(
        {
            "type": one_of("message", None),
            "role": one_of(*sorted(ROLES)),
            "content": either(TEXT, parts),
        },
        "role",
        "content",
    )
    thought = maybe(array(record({"text": TEXT}, "text")))
    return {
        "ResponseItem": either(
            message,
            _kind("function_call", {"call_id": TEXT, "name": TEXT, "arguments": TEXT}),
            _kind("function_call_output", {"call_id": TEXT, "output": either(TEXT, parts)}),
            record({"type": one_of("reasoning"), "content": thought, "summary": thought}, "type"),
        ),
        "ResponsePart": either(
            record(
                {"type": one_of("input_text", "output_text", "text"), "text": TEXT}, "type", "text"
            ),
            _kind("refusal", {"refusal": TEXT}),
            _image(),
            _file(),
            _kind("input_audio", {"input_audio": {"type": "object"}}),
        ),
    }


def _image() -> Schema:
    image = _kind("input_image", {"image_url": TEXT})
    return _with(image, {"detail": _STRING, "file_id": one_of(None)})


def _file() -> Schema:
    file = _kind("input_file", {"file_data": TEXT})
    return _with(file, {"filename": _STRING, "file_id": one_of(None), "file_url": one_of(None)})


def _tools() -> dict[str, Schema]:
    tool = _with(_kind("function", {"name": TEXT}), {"description": {}, "parameters": {}})
    named = _kind("function", {"name": TEXT})
    allowed = _with(
        _kind("allowed_tools", {"tools": array(named, minItems=1)}),
        {"mode": one_of("auto", "required", None)},
    )
    schema = _kind("json_schema", {"name": TEXT, "schema": {"type": "object"}})
    plain = record({"type": one_of("text", "json_object")}, "type")
    return {
        "ResponseTool": tool,
        "ResponseToolChoice": either(named, allowed),
        "ResponseTextFormat": either(plain, schema),
    }


def _kind(kind: str, described: dict[str, Schema]) -> Schema:
    """An object of that type; all of it is required."""
    return record({"type": one_of(kind)} | described, "type", *described)


def _with(schema: Schema, more: dict[str, Schema]) -> Schema:
    return schema | {"properties": properties(schema) | more}
