"""What becomes of each parameter of ``POST /v1/responses``: the table that docs/endpoints.md shows.

A name that is not here goes to the model server as it came, as it does in chat completions.
"""

from collections.abc import Mapping
from enum import StrEnum

from gateway.errors import RequestError
from gateway.wire.responses.reading import Node


class Fate(StrEnum):
    """What becomes of a parameter."""

    PASSED = "passed"  # to the model, under the same name
    ADAPTED = "adapted"  # said to the model in the words of chat completions
    ECHOED = "echoed"  # accepted and repeated in the response; the model is not told
    REFUSED = "refused"


PASSED = frozenset(
    {"model", "temperature", "top_p", "user", "safety_identifier", "service_tier"}
    | {"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"}
)
ADAPTED = frozenset(
    {"input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"}
    | {"max_output_tokens", "include", "top_logprobs", "store", "stream", "stream_options"}
)
ECHOED = frozenset({"metadata", "truncation"})

_NO_STATE = "no responses are kept here; send the whole conversation as 'input'"
# Refused unless null, or said to be off; why.
REFUSED: Mapping[str, str] = {
    "previous_response_id": _NO_STATE,
    "conversation": _NO_STATE,
    "background": "responses are answered while the client waits",
    "background_options": "responses are answered while the client waits",
    "prompt": "no prompt templates are kept here; send 'instructions' and 'input'",
    "max_tool_calls": "it limits tools that a server runs, and none are run here",
    "context_management": "nothing is compacted here",
    "moderation": "nothing is moderated here",
}
# What chat completions call otherwise, and what it is called here.
MOVED: Mapping[str, str] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
    "functions": "tools",
    "function_call": "tool_choice",
}


def fate_of(name: str) -> Fate:
    """What becomes of a parameter."""
    if name in REFUSED or name in MOVED or name == "n":
        return Fate.REFUSED
    if name in ADAPTED:
        return Fate.ADAPTED
    return Fate.ECHOED if name in ECHOED else Fate.PASSED


def refuse_unsupported(body: Node) -> None:
    """Raises RequestError where a request asks for what is not to be had here, or not by that name.

    What says no more than the default, such as ``"background": false``, is accepted.
    """
    for name, why in REFUSED.items():
        value = body.raw(name)
        if value is not None and bytes(value) not in (b"false", b"[]"):
            raise RequestError(f"'{name}' is not supported: {why}.", param=name)
    for name, place in MOVED.items():
        if body.raw(name) is not None:
            raise RequestError(
                f"Unsupported parameter: '{name}'. In responses it is '{place}'.", param=name
            )
    choices = body.raw("n")
    if choices is not None and bytes(choices) != b"1":
        raise RequestError("'n' is not supported: a response is one answer.", param="n")
