"""What the gateway answers, as far as it vouches for it: most of an answer is its server's own."""

from collections.abc import Sequence

from gateway.openapi.structs import TEXT, Schema, array, maybe, one_of, record, ref

_COUNT: Schema = {"type": "integer", "minimum": 0}
_OTHERS = "The rest is as the model's server wrote it."


def reply_schemas() -> dict[str, Schema]:
    """The components, errors left out."""
    completion = record(
        {"model": TEXT, "choices": array({"type": "object"}), "object": TEXT},
        "model",
        "choices",
        description=_OTHERS,
    )
    return {
        "ChatCompletion": completion,
        "TextCompletion": completion,
        "Response": record(
            {
                "id": TEXT,
                "object": one_of("response"),
                "status": one_of("completed", "incomplete"),
                "model": TEXT,
                "output": array({"type": "object"}),
                "usage": maybe({"type": "object"}),
            },
            "id",
            "object",
            "status",
            "model",
            "output",
        ),
        "Message": _message(),
        "TokenCount": record({"input_tokens": _COUNT}, "input_tokens", is_closed=True),
        "Passed": {"type": "object", "description": "As the model's server wrote it, but `model`."},
        "Model": _model(),
        "Models": _list(ref("Model")),
        "StoredCompletion": record(
            {
                "id": TEXT,
                "choices": array({"type": "object"}),
                "metadata": ref("Metadata"),
                "request_id": TEXT,
            },
            "id",
            "metadata",
            "request_id",
        ),
        "StoredMessage": record({"id": TEXT, "content": {}, "content_parts": {}}, "id"),
        "StoredCompletions": _page(ref("StoredCompletion")),
        "StoredMessages": _page(ref("StoredMessage")),
        "Deleted": record(
            {"object": one_of("chat.completion.deleted"), "id": TEXT, "deleted": one_of(True)},
            "object",
            "id",
            "deleted",
            is_closed=True,
        ),
        "OpenApi": record({"openapi": TEXT}, "openapi"),
        "Status": record({"status": TEXT}, "status", is_closed=True),
    }


def _message() -> Schema:
    block = record({"type": one_of("text", "thinking", "tool_use")}, "type")
    usage = record(
        {"input_tokens": _COUNT, "output_tokens": _COUNT}, "input_tokens", "output_tokens"
    )
    return record(
        {
            "id": TEXT,
            "type": one_of("message"),
            "role": one_of("assistant"),
            "model": TEXT,
            "content": array(block),
            "stop_reason": maybe(TEXT),
            "stop_sequence": maybe(TEXT),
            "usage": usage,
        },
        "id",
        "type",
        "role",
        "model",
        "content",
        "stop_reason",
        "usage",
    )


def _model() -> Schema:
    return record(
        {"id": TEXT, "object": one_of("model"), "created": _COUNT, "owned_by": TEXT},
        "id",
        "object",
        "created",
        "owned_by",
        is_closed=True,
    )


def _list(item: Schema) -> Schema:
    return record({"object": one_of("list"), "data": array(item)}, "object", "data")


def _page(item: Schema) -> Schema:
    return record(
        {
            "object": one_of("list"),
            "data": array(item),
            "first_id": maybe(TEXT),
            "last_id": maybe(TEXT),
            "has_more": {"type": "boolean"},
        },
        "object",
        "data",
        "first_id",
        "last_id",
        "has_more",
        is_closed=True,
    )


def error_schemas() -> dict[str, Schema]:
    """The two forms of an error."""
    told = {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)}
    error = record(told, *told, is_closed=True)
    details = record({"error_code": TEXT}, "error_code", is_closed=True)
    theirs = record(
        {"type": TEXT, "message": TEXT, "details": details}, "type", "message", is_closed=True
    )
    described = {"type": one_of("error"), "error": theirs, "request_id": TEXT}
    return {
        "Error": record({"error": error}, "error", is_closed=True),
        "AnthropicError": record(described, *described, is_closed=True),
    }


def error_of(codes: Sequence[str | None] | None, *, is_anthropic: bool) -> Schema:
    """An error with one of these codes; None: with any."""
    form = ref("AnthropicError" if is_anthropic else "Error")
    if codes is None:
        return form
    said = one_of(*codes)
    told = {"details": record({"error_code": said})} if is_anthropic else {"code": said}
    return {"allOf": [form, {"properties": {"error": {"properties": told}}}]}
