"""Who goes on with an answer that is half out when it falls into doubt."""

from dataclasses import dataclass

from routing.vocabulary import Handover


@dataclass(frozen=True, slots=True)
class Seam:
    """What is known where another model would have to take over.

    ``is_text`` says that nothing but text is out: no tool call, no reasoning, no JSON that was
    asked for.  ``is_half`` says that some of it is out and more was to come.  ``can_continue`` is
    whether the teacher was seen to go on from given words; ``is_restart_wanted`` whether the client
    said that it can throw away what it has.
    """

    is_text: bool
    is_half: bool
    can_continue: bool
    is_restart_wanted: bool


def hand_over(wish: Handover, seam: Seam) -> Handover:
    """What to do, given what the cascade wishes; NEVER leaves the answer as it is, in doubt."""
    if wish is Handover.CONTINUE and seam.is_text and seam.is_half and seam.can_continue:
        return Handover.CONTINUE
    if wish is Handover.RESTART and seam.is_restart_wanted:
        return Handover.RESTART
    return Handover.NEVER
