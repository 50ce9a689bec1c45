"""Which protocol each path speaks, and in whose form its errors are."""

import os
import time
from collections.abc import Mapping

from gateway.wire.chat_wire import ChatWire
from gateway.wire.messages.wire import MessagesWire
from gateway.wire.protocol import Wire
from gateway.wire.responses.wire import ResponsesWire
from gateway.wire.text.reply import TextWire

OPENAI, ANTHROPIC = ChatWire(), MessagesWire()
MESSAGES_PATH = "/v1/messages"
# What a cascade answers.
WIRES: Mapping[str, Wire] = {
    "/v1/chat/completions": OPENAI,
    "/v1/responses": ResponsesWire(lambda: os.urandom(16).hex(), time.time),
    "/v1/completions": TextWire(),
    MESSAGES_PATH: ANTHROPIC,
}


def wire_of(path: str) -> Wire:
    """The protocol in whose form a path's errors are: OpenAI's where it is nobody's."""
    return ANTHROPIC if path.startswith(f"{MESSAGES_PATH}/") else WIRES.get(path, OPENAI)
