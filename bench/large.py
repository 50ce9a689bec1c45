"""Requests of a megabyte: as text, as many messages, and as dense JSON, each within the limits that
a gateway has unless it is told otherwise.
"""

import json
from collections.abc import Mapping

LARGE_BYTES = 1_000_000
MESSAGES = 3500
# What dense JSON has most of: a gateway takes 50,000 objects, arrays and named values.
TOOLS = 650
PROPERTIES_OF_EACH = 20
_PROSE = "The order that was placed last week has not arrived, and nobody says when it will. "
# Line breaks, quotes and umlauts are what costs, as clients of Python write them: escaped.
_CODE = 'if größe > 0:\n\tprint("not enough", größe)\n'


def large_bodies(model: str) -> Mapping[str, str]:
    """Bodies for a cascade, by what they are like."""
    return {
        "prose": _body(model, [_user(_filled(_PROSE, LARGE_BYTES))]),
        "code": _body(model, [_user(_filled(_CODE, LARGE_BYTES))]),
        "many messages": _body(model, _conversation(LARGE_BYTES // MESSAGES)),
        "many tools": _body(model, [_user(_filled(_PROSE, 1000))], tools=_tools()),
    }


def _body(model: str, messages: object, **more: object) -> str:
    fields = {"model": model, "messages": messages, "max_tokens": 64, "temperature": 0, **more}
    return json.dumps(fields, separators=(",", ":"))


def _filled(text: str, size: int) -> str:
    """The text again and again, so that it is about so long when it is written as JSON."""
    return text * (size // (len(json.dumps(text)) - 2))


def _user(text: str) -> object:
    return {"role": "user", "content": text}


def _conversation(size: int) -> object:
    return [
        {"role": "user" if turn % 2 == 0 else "assistant", "content": _filled(_PROSE, size)}
        for turn in range(MESSAGES)
    ]


def _tools() -> object:
    properties = {f"property_{number}": {"type": "string"} for number in range(PROPERTIES_OF_EACH)}
    parameters = {"type": "object", "properties": properties}
    named = (f"tool_{number}" for number in range(TOOLS))
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": _filled(_PROSE, 650),
                "parameters": parameters,
            },
        }
        for name in named
    ]
