"""What a server's usage says beyond its counts: whether it tells of a cache at all."""

import msgspec

from gateway.wire.completion import InputDetails


class _Usage(msgspec.Struct):
    prompt_tokens_details: InputDetails | None = None


class _Body(msgspec.Struct):
    usage: _Usage | None = None


_body = msgspec.json.Decoder(_Body)


def tells_cached_tokens(body: bytes) -> bool:
    """Whether a completion, or a chunk, says how much of the prompt was cached, be it nothing."""
    try:
        usage = _body.decode(body).usage
    except msgspec.ValidationError:
        return False
    details = None if usage is None else usage.prompt_tokens_details
    return details is not None and details.cached_tokens is not None
