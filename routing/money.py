"""Prices times usage, exactly: whole pico-dollars, never a sum of floats.

One US dollar is 10**12 pico-dollars.  A price of 0.02 USD per million tokens is 20,000 pico-dollars
per token, so every price with at most six decimals is a whole number here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

PICO_PER_USD = 10**12
_PICO_PER_TOKEN = 10**6  # one USD per million tokens, in pico-dollars per token


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call.  ``cached_input`` is part of ``input``, ``reasoning`` part of ``output``.

    Raises ValueError where a count is negative or a part exceeds its whole.
    """

    input: int
    output: int
    cached_input: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.cached_input <= self.input and 0 <= self.reasoning <= self.output):
            raise ValueError(f"token counts do not add up: {self}")


NOTHING_USED = Usage(input=0, output=0)


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-dollars per token, each at least 0."""

    input: int
    cached_input: int
    output: int
    reasoning: int


def pico_per_token(usd_per_million: Decimal) -> int:
    """Convert a price in USD per million tokens.

    Raises ValueError where it is negative, not finite, or finer than a millionth of a dollar per
    million tokens: rounding a price in silence would make every later sum wrong.
    """
    if not usd_per_million.is_finite() or usd_per_million < 0:
        raise ValueError(f"a price must be a finite number of at least 0, got {usd_per_million}")
    # Decimals round to 28 digits when they are multiplied, fractions never do.
    pico = Fraction(usd_per_million) * _PICO_PER_TOKEN
    if pico.denominator != 1:
        raise ValueError(f"a price has at most six decimals, got {usd_per_million}")
    return int(pico)


def cost_of(usage: Usage | None, price: Price | None) -> int | None:
    """Cost of one call in pico-dollars; None where usage or price is unknown, which is never 0."""
    if usage is None or price is None:
        return None
    return (
        (usage.input - usage.cached_input) * price.input
        + usage.cached_input * price.cached_input
        + (usage.output - usage.reasoning) * price.output
        + usage.reasoning * price.reasoning
    )


def expected_cost(
    input_tokens: int, warm_tokens: int, output_tokens: int, price: Price | None
) -> int | None:
    """What a call will cost in pico-dollars that reads and writes so many tokens.

    ``warm_tokens`` of those that it reads are in the model's cache, and have the cached price.
    None without a price.  Raises ValueError where these are more than all of them.
    """
    return cost_of(Usage(input_tokens, output_tokens, warm_tokens), price)


def part_of(usage: Usage, tokens: Sequence[int], place: int) -> tuple[Usage, Usage]:
    """What one of several drafts took of the call that wrote them all, and what the others took.

    ``tokens`` is how many were seen of each draft; where they do not add up to the bill, or none
    were seen, it is shared out by them, or evenly.  The prompt was read for the one draft.
    """
    seen = sum(tokens)
    mine, all_of_them = (tokens[place], seen) if seen else (1, len(tokens))
    output, reasoning = (
        -(-count * mine // all_of_them) for count in (usage.output, usage.reasoning)
    )
    one = Usage(usage.input, output, usage.cached_input, reasoning)
    return one, Usage(0, usage.output - output, 0, usage.reasoning - reasoning)


def share_of(cost: int, part: int, others: int) -> int:
    """The part of a cost that falls to ``part`` of ``part + others``, rounded up.

    All of it where both are 0.
    """
    whole = part + others
    return -(-cost * part // whole) if whole else cost


def less(whole: Usage, before: Usage, *, is_exact: bool) -> Usage | None:
    """What was used since a part was told.

    Where that is more than the whole, nobody knows; or, of counts that are not exact, it is 0.
    Parts may have been told in the end alone, as vLLM does: they are what of them fits.
    """
    read, written = whole.input - before.input, whole.output - before.output
    if is_exact and min(read, written) < 0:  # the server takes back what it had counted
        return None
    read, written = max(read, 0), max(written, 0)
    return Usage(
        input=read,
        output=written,
        cached_input=min(max(whole.cached_input - before.cached_input, 0), read),
        reasoning=min(max(whole.reasoning - before.reasoning, 0), written),
    )


def total_of(costs: Iterable[int | None]) -> int | None:
    """Sum of costs in pico-dollars; None as soon as one of them is unknown."""
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


@lru_cache(maxsize=1024)  # a request's cost is written twice, and equal requests cost the same
def usd(pico: int) -> str:
    """Write pico-dollars as an exact decimal number of US dollars, for example ``0.000123``."""
    sign, whole = ("-" if pico < 0 else ""), abs(pico)
    dollars, rest = divmod(whole, PICO_PER_USD)
    decimals = f"{rest:012d}".rstrip("0")
    return f"{sign}{dollars}.{decimals or '0'}"
