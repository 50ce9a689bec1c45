"""Whether a request is too long for a model, as far as that is sure before its server has seen it.

The server's own refusal is the exact judge, and costs one more call: nothing is taken from a model
here that it might have read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from routing.habits import Asked, Habits

# No tokenizer in use writes text of any length in fewer tokens than one for so many bytes of JSON:
# English takes 4 to 5, and escaped letters (``\u4e2d``) 6 to 12, which the second bound is for.
MOST_BYTES_PER_TOKEN = 6
# A request may have half as many tokens for each byte as those that its model's habits are from.
MARGIN = 2
# From fewer tokens than these nobody has habits.
LEAST_LEARNT_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a model's context holds, as its server says.

    ``is_answer_counted``: it refuses a request whose answer may be longer than what is left.
    """

    tokens: int
    is_answer_counted: bool


def of_all(rooms: Sequence[Room | None]) -> Room | None:
    """What fits into none of several servers; None where that is not known of each."""
    known = [room for room in rooms if room is not None]
    if not known or len(known) < len(rooms):
        return None
    most = max(room.tokens for room in known)
    return Room(most, all(room.is_answer_counted for room in known))


def is_too_long(room: Room | None, asked: Asked, habits: Habits) -> bool:
    """Whether there is surely no room for the request, and for its answer where that counts."""
    if room is None:
        return False
    answer = (asked.most_tokens or 1) if room.is_answer_counted else 0
    if answer >= room.tokens:
        return True
    left = room.tokens - answer
    if asked.bytes <= left * MOST_BYTES_PER_TOKEN or habits.read.tokens < LEAST_LEARNT_TOKENS:
        return False
    expected = habits.read.estimate(asked.bytes)
    return expected is not None and expected > left * MARGIN
