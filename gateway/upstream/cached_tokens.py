"""Asks a model server whether it tells how much of a prompt it had in its cache.

vLLM says nothing of it unless it is started with ``--enable-prompt-tokens-details``: then cached
tokens are billed as fresh ones, and nobody can see it from the bill.
"""

from dataclasses import dataclass

import msgspec

from gateway.errors import UpstreamError, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.usage import tells_cached_tokens
from routing.vocabulary import Denied

# Some 400 to 1,200 tokens, as a tokenizer takes digits: several blocks of a cache (vLLM's have 16
# tokens, on CPUs 128), and no more than small models can read.
PROMPT = "Here are some numbers: " + ", ".join(map(str, range(1000, 1200))) + ". Say one of them."


@dataclass(frozen=True, slots=True)
class CachedTokens:
    """``is_reported`` is None where there was no answer; ``saw`` says in words what was seen."""

    is_reported: bool | None
    saw: str

    @property
    def is_answer(self) -> bool:
        """Whether nobody has to ask again."""
        return self.is_reported is not None


NOT_ASKED = CachedTokens(None, "the gateway is ending")


async def ask_for_cached_tokens(model: Model, legs: Legs) -> CachedTokens:
    """Ask the same twice, so that the second prompt is in the cache; the calls are in ``legs``.

    Some servers tell of cached tokens only where there are any.
    """
    for number in ("first", "second"):
        if isinstance(model.chat.reserve(), Denied):
            return CachedTokens(None, "not asked: it has failed of late, or has no room")
        try:
            completion = await legs.ask(model, _chat())
        except UpstreamRefused as refusal:
            return CachedTokens(False, f"refused: {refusal.message}")
        except UpstreamError as failure:
            return CachedTokens(None, failure.message)
        if tells_cached_tokens(completion.body):
            return CachedTokens(True, f"the {number} answer's usage tells of cached tokens")
    return CachedTokens(False, "the same prompt was asked twice, and no usage told of its cache")


def _chat() -> Chat:
    """The question, as a client would have asked it."""
    fields = {
        "model": "probe",
        "messages": [{"role": "user", "content": PROMPT}],
        "temperature": 0,
        "max_tokens": 1,
    }
    return parse_chat(msgspec.json.encode(fields))
