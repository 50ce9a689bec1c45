"""Asks a model whether it goes on from the first words of an answer.

Some servers refuse that, some ignore it and begin again, some drop the blank at the seam: an answer
handed over to one of those would be spoilt, so a teacher is only trusted with it once it was seen
to do it.
"""

import re
from dataclasses import dataclass

import msgspec

from gateway.errors import UpstreamError, UpstreamRefused
from gateway.facts import CANCELLED
from gateway.legs import Legs, Model
from gateway.wire.chat import Chat, Prefix, parse_chat
from routing.vocabulary import Denied

QUESTION = "Write the numbers from 1 to 10, separated by commas."
PREFIX = Prefix("1, 2, 3,", tokens=8)
# A new turn would begin with another "1", or without the blank: then words would stick together.
_GOES_ON = re.compile(r"\s+4\b")
# Enough to see the next number, whatever a token is there.
PROBE_TOKENS = 8
# A server that heeds no limit is stopped here.
MOST_CHARACTERS = 200
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Continuation:
    """What came of one probe.

    ``can_continue`` is None where there was no answer; ``saw`` says in words what was seen.
    """

    can_continue: bool | None
    saw: str

    @property
    def is_answer(self) -> bool:
        """Whether nobody has to ask again."""
        return self.can_continue is not None


NOT_PROBED = Continuation(None, "the gateway is ending")


async def probe(model: Model, legs: Legs) -> Continuation:
    """Have the model go on from a known text once; the call is noted in ``legs``.

    A refusal is an answer too.  A server that is away or at odds with the gateway gives none.
    """
    if isinstance(model.chat.reserve(), Denied):
        return Continuation(None, "not asked: it has failed of late, or has no room")
    try:
        text, has_reasoning = await _written(model, legs)
    except UpstreamRefused as refusal:
        return Continuation(False, f"refused: {refusal.message}")
    except UpstreamError as failure:
        return Continuation(None, failure.message)
    return judge(text, has_reasoning=has_reasoning)


def judge(text: str, *, has_reasoning: bool) -> Continuation:
    """What the words say that a model wrote after the prefix."""
    if has_reasoning:
        return Continuation(False, f"after {PREFIX.text!r} it began to reason")
    saw = f"after {PREFIX.text!r} it wrote {text[:SHOWN_CHARACTERS]!r}"
    return Continuation(_GOES_ON.match(text) is not None, saw)


async def _written(model: Model, legs: Legs) -> tuple[str, bool]:
    """What the model writes after the prefix, and whether any of it is reasoning."""
    text, has_reasoning = "", False
    leg = await legs.stream(model, _chat(), PREFIX)
    code: str | None = CANCELLED
    try:
        while len(text) <= MOST_CHARACTERS and (chunks := await leg.read()):
            text += "".join([chunk.content for chunk in chunks])
            has_reasoning |= any(chunk.reasoning for chunk in chunks)
        code = None
    finally:
        leg.close(code)
    return text, has_reasoning


def _chat() -> Chat:
    """The question, as a client would have asked it."""
    fields = {
        "model": "probe",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": PREFIX.tokens + PROBE_TOKENS,
        "stream": True,
    }
    return parse_chat(msgspec.json.encode(fields))
