"""What a client calls a parameter of the chat that its request became."""

import re
from collections.abc import Sequence

from gateway.wire.responses.items import Place
from gateway.wire.responses.parameters import MOVED

# FastAPI writes "body.messages.0.content" where others write "messages[0].content".
_NUMBER = re.compile(r"\.(\d+)")
_MESSAGE = re.compile(r"messages\[(\d+)\](?:(\.content)(\[\d+\])?)?(.*)")
# Objects in which a chat's parts keep what stands here in the part itself.
_WRAPPED = re.compile(r"\.image_url\.url$|\.file(?=\.)|\.function(?=\.)")
_UNWRAPPED = {".image_url.url": ".image_url"}


def client_param(param: str, places: Sequence[Place]) -> str:
    """The client's name for ``param``; ``places`` are those of the chat's messages."""
    param = _NUMBER.sub(r"[\1]", param.removeprefix("body."))
    if found := _MESSAGE.fullmatch(param):
        number, content, part, rest = found.groups()
        if int(number) < len(places):
            place = places[int(number)]
            rest = _WRAPPED.sub(lambda wrapped: _UNWRAPPED.get(wrapped[0], ""), rest)
            return f"{place.content}{part or ''}{rest}" if content else place.item
        return "input"
    name, _, _ = param.replace("[", ".").partition(".")
    if name in ("messages", "content", "input_tokens"):
        return "input"
    return MOVED.get(name, _WRAPPED.sub("", param))
