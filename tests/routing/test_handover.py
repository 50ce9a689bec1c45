from itertools import product
from typing import Any

import pytest

from routing.handover import Seam, hand_over, obstacle_of
from routing.vocabulary import Degraded, Denied, Handover, Obstacle


def seam(**changes: Any) -> Seam:
    """A place where everything speaks for a hand-over, but for the changes."""
    whole: dict[str, Any] = {
        "beyond_text": None,
        "has_words": True,
        "is_over": False,
        "can_continue": True,
        "is_restart_wanted": True,
    }
    return Seam(**(whole | changes))


def test_a_teacher_that_can_continues_half_an_answer_of_text() -> None:
    assert hand_over(Handover.CONTINUE, seam(is_restart_wanted=False)) is Handover.CONTINUE


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        *[({"beyond_text": each}, each) for each in (Obstacle.JSON, Obstacle.GRAMMAR)],
        ({"has_words": False}, Obstacle.NOTHING_OUT),
        ({"is_over": True}, Obstacle.AT_END),
        ({"can_continue": False}, Obstacle.TEACHER_CANNOT),
    ],
)
def test_each_of_the_conditions_is_needed_to_continue(
    change: dict[str, Any], obstacle: Obstacle
) -> None:
    assert hand_over(Handover.CONTINUE, seam(**change)) is obstacle


def test_what_the_answer_is_made_of_comes_before_what_the_teacher_can_do() -> None:
    place = seam(beyond_text=Obstacle.REASONING, is_over=True, can_continue=False)
    assert hand_over(Handover.CONTINUE, place) is Obstacle.REASONING


def test_a_restart_needs_a_client_that_wants_it_and_nothing_else() -> None:
    only = seam(beyond_text=Obstacle.JSON, has_words=False, is_over=True, can_continue=False)
    assert hand_over(Handover.RESTART, only) is Handover.RESTART
    assert hand_over(Handover.RESTART, seam(is_restart_wanted=False)) is Obstacle.CLIENT_CANNOT


def test_a_cascade_gets_its_wish_or_the_reason() -> None:
    """No wish turns into the other: an operator who wants one way is never given a second."""
    for beyond, *flags in product([None, Obstacle.JSON], *[[False, True]] * 4):
        place = Seam(beyond, *flags)  # type: ignore[arg-type]  # the rest are flags
        assert hand_over(Handover.NEVER, place) is Handover.NEVER
        for wish in (Handover.CONTINUE, Handover.RESTART):
            way = hand_over(wish, place)
            assert way is wish or isinstance(way, Obstacle)


@pytest.mark.parametrize("degraded", list(Degraded))
def test_a_teacher_that_is_not_to_be_had_is_an_obstacle_of_the_same_name(
    degraded: Degraded,
) -> None:
    assert str(obstacle_of(Denied(degraded))) == str(degraded)
