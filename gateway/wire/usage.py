"""What is asked of a server's usage besides the bill: whether it can be, and tells of a cache."""

import msgspec

from gateway.wire.completion import MAX_TOKENS, InputDetails, UsageCounts, usage_of


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


def adds_up(counts: UsageCounts) -> bool:
    """Whether the counts can be believed, and so ``usage_of`` says something."""
    if counts.prompt_tokens_details is None and counts.completion_tokens_details is None:
        return (
            0 <= counts.prompt_tokens <= MAX_TOKENS and 0 <= counts.completion_tokens <= MAX_TOKENS
        )
    return usage_of(counts) is not None
