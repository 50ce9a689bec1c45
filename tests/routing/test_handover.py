from itertools import product

import pytest

from routing.handover import Seam, hand_over
from routing.vocabulary import Handover


def seam(**changes: bool) -> Seam:
    """A place where everything speaks for a hand-over, but for the changes."""
    whole = {"is_text": True, "is_half": True, "can_continue": True, "is_restart_wanted": True}
    return Seam(**(whole | changes))


def test_a_teacher_that_can_continues_half_an_answer_of_text() -> None:
    assert hand_over(Handover.CONTINUE, seam(is_restart_wanted=False)) is Handover.CONTINUE


@pytest.mark.parametrize("name", ["is_text", "is_half", "can_continue"])
def test_each_of_the_conditions_is_needed_to_continue(name: str) -> None:
    assert hand_over(Handover.CONTINUE, seam(**{name: False})) is Handover.NEVER


def test_a_restart_needs_a_client_that_wants_it_and_nothing_else() -> None:
    only = seam(is_text=False, is_half=False, can_continue=False)
    assert hand_over(Handover.RESTART, only) is Handover.RESTART
    assert hand_over(Handover.RESTART, seam(is_restart_wanted=False)) is Handover.NEVER


def test_a_cascade_gets_its_wish_or_nothing() -> None:
    """No wish turns into the other: an operator who wants one way is never given a second."""
    for flags in product([False, True], repeat=4):
        place = Seam(*flags)
        assert hand_over(Handover.NEVER, place) is Handover.NEVER
        for wish in (Handover.CONTINUE, Handover.RESTART):
            assert hand_over(wish, place) in (wish, Handover.NEVER)
