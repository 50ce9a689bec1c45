"""A model server's completion as a message of Anthropic's."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.wire.completion import Completion
from gateway.wire.messages.said import Stop, call_id, input_of, message_id, said_in, stop_of
from gateway.wire.messages.shape import NULL
from routing.money import NOTHING_USED, Usage

Block = dict[str, object]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a request its message depends on.

    ``model`` is the client's word for it; ``begun`` are the first words of the answer, where the
    client wrote them.
    """

    model: str
    stop_sequences: Sequence[str] = ()
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole answer.  ``usage`` is None where nobody knows what it cost."""

    id: str
    content: Sequence[Block]
    stop: Stop
    usage: Usage | None


def message_in(completion: Completion, terms: Terms) -> Message:
    """The first answer of a completion."""
    fields = _fields.decode(completion.body)
    choice = _choices.decode(fields["choices"])[0]
    identity = message_id(fields.get("id", NULL))
    said = said_in(choice["message"])
    # llama.cpp, which alone tells its timings, repeats what the client has begun.
    text = said.text.removeprefix(terms.begun) if "timings" in fields else said.text
    content = [thinking_block(said.thoughts)] if said.thoughts else []
    if text:
        content.append(text_block(text))
    for place, call in enumerate(said.calls):
        name = call_id(call, identity, place)
        content.append(tool_use_block(name, call.name, input_of(call.arguments)))
    stop = stop_of(choice, terms.stop_sequences, has_calls=bool(said.calls))
    return Message(identity, content, stop, completion.usage)


def message_fields(message: Message, model: str) -> dict[str, object]:
    """What the client gets of a whole answer; ``model`` is its own word for the model."""
    return begun_fields(message.id, model) | {
        "content": message.content,
        **stop_fields(message.stop),
        "usage": usage_fields(message.usage),
    }


def begun_fields(identity: str, model: str) -> dict[str, object]:
    """A message of which nothing is known but who writes it."""
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_fields(None),
    }


def stop_fields(stop: Stop) -> dict[str, object]:
    """Why a message ended."""
    return {"stop_reason": stop.reason, "stop_sequence": stop.sequence}


def usage_fields(usage: Usage | None) -> dict[str, int]:
    """What a message cost; zeros where nobody knows, for clients need numbers.

    Unlike OpenAI's, the input is without what was cached.
    """
    usage = usage or NOTHING_USED
    return {
        "input_tokens": usage.input - usage.cached_input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output,
    }


def thinking_block(text: str) -> Block:
    """Thoughts; nobody signs them here."""
    return {"type": "thinking", "thinking": text, "signature": ""}


def text_block(text: str) -> Block:
    """Words."""
    return {"type": "text", "text": text}


def tool_use_block(identity: str, name: str, arguments: object) -> Block:
    """A call of a tool."""
    return {"type": "tool_use", "id": identity, "name": name, "input": arguments}
