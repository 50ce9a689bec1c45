"""Requests that a reader can try.  Each is sent to a gateway by the tests."""

from collections.abc import Mapping

_QUESTION = "What is the capital of France?"
_ASKED = {"role": "user", "content": _QUESTION}
_CHAT = {"model": "assistant", "messages": [_ASKED]}
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_FUNCTION = {"name": "weather", "description": "The weather of a city.", "parameters": _CITY}
_STREAM = {"stream": True, "stream_options": {"include_usage": True}}
_FORM = {"name": "place", "schema": _CITY}
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg"
    "GAWjR9awAAAABJRU5ErkJggg=="
)
_SEEN = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": _PIXEL}},
]
_MESSAGE = {"model": "assistant", "max_tokens": 100, "messages": [_ASKED]}
_RESULT = {"type": "tool_result", "tool_use_id": "call_1", "content": "Sunny."}
_USED = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}}
_MESSAGE_TOOL = {"name": "weather", "input_schema": _CITY}

Example = Mapping[str, object]

CHAT: Mapping[str, Example] = {
    "question": _CHAT,
    "stream": _CHAT | _STREAM,
    "log_probabilities": _CHAT | {"logprobs": True, "top_logprobs": 3},
    "tools": _CHAT | {"tools": [{"type": "function", "function": _FUNCTION}]},
    "json": _CHAT | {"response_format": {"type": "json_schema", "json_schema": _FORM}},
    "two_answers": _CHAT | {"n": 2, "max_completion_tokens": 50},
    "image": _CHAT | {"messages": [{"role": "user", "content": _SEEN}]},
    "teacher": _CHAT | {"understudy": {"route": "teacher"}},
    "stored": _CHAT | {"store": True, "metadata": {"topic": "geography"}},
}
TEXT: Mapping[str, Example] = {
    "prompt": {"model": "assistant", "prompt": "Once upon", "max_tokens": 20},
    "stream": {"model": "assistant", "prompt": "Once upon"} | _STREAM,
    "several": {"model": "assistant", "prompt": ["Once", "There was"], "logprobs": 2},
}
RESPONSES: Mapping[str, Example] = {
    "text": {"model": "assistant", "input": _QUESTION, "instructions": "Be brief."},
    "stream": {"model": "assistant", "input": _QUESTION, "stream": True},
    "tools": {
        "model": "assistant",
        "input": [_ASKED],
        "tools": [{"type": "function", **_FUNCTION}],
        "tool_choice": "auto",
    },
    "conversation": {
        "model": "assistant",
        "input": [
            _ASKED,
            {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "Sunny."},
        ],
    },
    "json": {
        "model": "assistant",
        "input": _QUESTION,
        "text": {"format": {"type": "json_schema", **_FORM}},
    },
}
MESSAGES: Mapping[str, Example] = {
    "question": _MESSAGE | {"system": "Be brief."},
    "stream": _MESSAGE | {"stream": True},
    "tools": _MESSAGE | {"tools": [_MESSAGE_TOOL], "tool_choice": {"type": "any"}},
    "results": _MESSAGE
    | {
        "messages": [
            _ASKED,
            {"role": "assistant", "content": [_USED]},
            {"role": "user", "content": [_RESULT]},
        ],
        "tools": [_MESSAGE_TOOL],
    },
}
COUNT: Mapping[str, Example] = {"question": _CHAT}
EMBEDDINGS: Mapping[str, Example] = {
    "texts": {"model": "embedder", "input": ["Paris", "Rome"], "encoding_format": "float"}
}
TOKENIZE: Mapping[str, Example] = {"text": {"model": "assistant", "prompt": "Once upon"}}
DETOKENIZE: Mapping[str, Example] = {"ids": {"model": "assistant", "tokens": [9707, 11]}}
SCORE: Mapping[str, Example] = {
    "pair": {"model": "embedder", "text_1": "Paris", "text_2": ["a city", "a river"]}
}
RERANK: Mapping[str, Example] = {
    "documents": {"model": "embedder", "query": "Paris", "documents": ["a city", "a river"]}
}
METADATA: Mapping[str, Example] = {"topic": {"metadata": {"topic": "history"}}}
OBJECTIVE: Mapping[str, Example] = {
    "escalation_rate": {"kind": "escalation_rate", "at_most": 0.2},
    "spend": {"kind": "spend", "usd_per_hour": 12, "cap_usd_per_hour": 15},
    "quality": {"kind": "quality", "disagreement_at_most": 0.05, "with_probability": 0.95},
}
