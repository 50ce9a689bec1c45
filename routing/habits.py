"""How many tokens a model makes of what it reads and writes, learnt from what its server said.

For calls of which the server never said what they took.  Sums of whole numbers and their ratios,
so that the same history gives the same estimate.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from routing.money import Usage

# From here on the past counts half as much each time as many tokens more are seen: traffic changes,
# and so do the weights behind a model's name.
HALVED_AT_TOKENS = 2**22


@dataclass(slots=True)
class Ratio:
    """Tokens for each of something, as a ratio of sums; nothing seen is no ratio."""

    tokens: int = 0
    of: int = 0

    def learn(self, tokens: int, of: int) -> None:
        """Take in that so many of something were so many tokens."""
        self.tokens += tokens
        self.of += of
        if self.tokens >= HALVED_AT_TOKENS:
            self.tokens, self.of = self.tokens // 2, self.of // 2

    def estimate(self, of: int) -> int | None:
        """The tokens that so many of it are, rounded to the nearest; None where nothing is known.

        Nothing is no token, whatever is known.
        """
        if not of:
            return 0
        if not (self.tokens and self.of):
            return None
        return (2 * of * self.tokens + self.of) // (2 * self.of)


class Written(NamedTuple):
    """What came of an answer: ``tokens`` that were told one by one, ``characters`` that were not.

    Reasoning and the calls of tools are among them.
    """

    tokens: int
    characters: int


class Asked(NamedTuple):
    """A request: how many ``bytes`` it has, and how many tokens its answer may have at most."""

    bytes: int
    most_tokens: int | None = None


@dataclass(slots=True)
class Habits:
    """One model's ratios: tokens for each byte of a request, and for each character it wrote."""

    read: Ratio = field(default_factory=Ratio)
    wrote: Ratio = field(default_factory=Ratio)

    def learn(self, usage: Usage, request_bytes: int, characters: int) -> None:
        """Take in what the server said of a call; no ``characters`` teach nothing of the output."""
        self.read.learn(usage.input, request_bytes)
        if characters:
            self.wrote.learn(usage.output, characters)

    def estimate(self, asked: Asked, written: Written, said: Usage | None = None) -> Usage | None:
        """What a call took of which so much came; None where too little is known.

        ``said`` is what the server had said before that came; without it nothing is taken to have
        been cached, or reasoning.  No answer is taken to be longer than it may be.
        """
        if said is None or not said.input:  # no prompt is empty: it was not counted yet
            tokens = self.read.estimate(asked.bytes)
            output = 0 if said is None else said.output
            said = None if tokens is None else Usage(tokens, output)
        more = self.wrote.estimate(written.characters)
        if said is None or more is None:
            return None
        counted = said.output + written.tokens
        output = counted + more
        if asked.most_tokens is not None:
            output = max(counted, min(output, asked.most_tokens))
        return replace(said, output=output)
