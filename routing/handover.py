"""Who goes on with an answer that is half out when it falls into doubt."""

from dataclasses import dataclass

from routing.vocabulary import Denied, Handover, Obstacle


@dataclass(frozen=True, slots=True)
class Seam:
    """What is known where another model would have to take over.

    ``beyond_text`` says what stands in the way of going on from the words alone, None where nothing
    does: a tool call, reasoning, JSON or a grammar that was asked for, the client's own beginning.
    ``has_words`` says that some of it is out, ``is_over`` that no more was to come.
    ``can_continue`` is whether the teacher was seen to go on from given words;
    ``is_restart_wanted`` whether the client said that it can throw away what it has.
    """

    beyond_text: Obstacle | None
    has_words: bool
    is_over: bool
    can_continue: bool
    is_restart_wanted: bool


def hand_over(wish: Handover, seam: Seam) -> Handover | Obstacle:
    """What to do, given what the cascade wishes: just that, or why it cannot be had."""
    if wish is Handover.CONTINUE:
        return _obstacle(seam) or wish
    if wish is Handover.RESTART and not seam.is_restart_wanted:
        return Obstacle.CLIENT_CANNOT
    return wish


def obstacle_of(denied: Denied) -> Obstacle:
    """Why a teacher that is not to be had takes nothing over."""
    return Obstacle(denied.degraded.value)


def _obstacle(seam: Seam) -> Obstacle | None:
    """The first thing that keeps a teacher from going on with the answer."""
    if seam.beyond_text is not None:
        return seam.beyond_text
    if seam.is_over:
        return Obstacle.AT_END
    if not seam.has_words:
        return Obstacle.NOTHING_OUT
    return None if seam.can_continue else Obstacle.TEACHER_CANNOT
