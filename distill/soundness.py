"""Whether a teacher's answer can be a lesson at all, by its form alone: empty, or caught in a loop.

What JSON and tool calls must be is the gateway's to know; it is asked for that from outside.
"""

from collections.abc import Callable

from distill.causes import Cause
from distill.dataset import Example, said_in

# A loop is a run of at most so many words, so many times in a row, and so long in all that no list
# of zeros and no ruled line is taken for one.
MOST_LOOP_WORDS = 32
LEAST_TURNS = 6
LEAST_LOOP_CHARACTERS = 100

# Says whether an answer has the form that was asked for.
IsAsAsked = Callable[[Example], bool]


def fault_of(example: Example, is_as_asked: IsAsAsked) -> Cause | None:
    """Why a row is no lesson; None where its form says nothing against it."""
    said = said_in(example.answer)
    if not said.strip():
        return Cause.ANSWER_EMPTY
    if is_looping(said):
        return Cause.ANSWER_REPEATS
    return None if is_as_asked(example) else Cause.ANSWER_NOT_AS_ASKED


def is_looping(text: str) -> bool:
    """Whether the text says the same over and over again somewhere."""
    words = text.split()
    for period in range(1, min(MOST_LOOP_WORDS, len(words) // LEAST_TURNS) + 1):
        same = 0
        for place in range(period, len(words)):
            same = same + 1 if words[place] == words[place - period] else 0
            if same >= period * (LEAST_TURNS - 1):
                run = words[place - same - period + 1 : place + 1]
                if len(" ".join(run)) >= LEAST_LOOP_CHARACTERS:
                    return True
    return False
