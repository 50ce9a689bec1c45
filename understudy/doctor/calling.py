"""Has a model call a tool: whether a call comes as one, or as text that no client can read.

A small model seldom calls of its own accord, so where it did not it is told that it must.
"""

from dataclasses import dataclass

import msgspec

from gateway.legs import Legs, Model
from gateway.wire.chat import Chat, parse_chat

TOOL = "note_number"
# What a small model writes where it must call: about 50 tokens, seen with SmolLM2-135M in vLLM.
CALL_TOKENS = 96


@dataclass(frozen=True, slots=True)
class Called:
    """What came of two requests with a tool.

    ``of_itself``: the first left it to the model, and had a call.  ``when_it_must``: the second
    did not, and had one; None where it was not asked.  ``is_text``: a call came as text.
    ``is_cut``: an answer was too long for one to be seen.
    """

    of_itself: bool
    when_it_must: bool | None = None
    is_text: bool = False
    is_cut: bool = False


async def have_it_call(model: Model, legs: Legs) -> Called:
    """Ask it to use a tool; raises what the model raises, refusals too."""
    completion = await legs.ask(model, _chat("auto"))
    message = completion.choices[0].message
    if message.tool_calls:
        return Called(of_itself=True)
    is_text = _is_call(message.content or "")
    choice = (await legs.ask(model, _chat("required"))).choices[0]
    return Called(
        of_itself=False,
        when_it_must=bool(choice.message.tool_calls),
        is_text=is_text,
        is_cut=choice.finish_reason == "length",
    )


def _is_call(text: str) -> bool:
    """Whether a text is a call that nobody has read as one: marks, JSON, or Python."""
    _, name, rest = text.partition(TOOL)
    return bool(name) and ("{" in text or rest.startswith("("))


def _chat(tool_choice: str) -> Chat:
    schema = {
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    }
    function = {"name": TOOL, "description": "Notes a number down.", "parameters": schema}
    fields = {
        "model": "doctor",
        "messages": [{"role": "user", "content": "Note down the number 7."}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": tool_choice,
        "temperature": 0,
        "max_tokens": CALL_TOKENS,
    }
    return parse_chat(msgspec.json.encode(fields))
