from collections.abc import Callable, Sequence

import pytest

from distill.generations import (
    NoStep,
    begun,
    ended,
    exchanged,
    named_by,
    next_number,
    promoted,
    renewed,
    revision_of,
    tries_of,
    version_of,
    widened,
)
from routing.rollout import Action, Generations, Stage, Step
from routing.rollout_file import generations_document, generations_from_document
from tests.distill.made_generations import WHY, generation, rollout

FIRST, SECOND, THIRD = generation(1), generation(2), generation(3)


def after_promotion_of(*numbers: int) -> Generations:
    state: Generations | None = None
    for number in numbers:
        state = promoted(begun(state, rollout(generation(number)), WHY), WHY)
    assert state is not None
    return state


def test_a_cascade_that_never_had_a_candidate_is_the_configuration_s() -> None:
    assert revision_of(None) == 0
    assert version_of(None) == "configuration"
    assert next_number(None) == 1


def test_the_way_in_is_one_revision_a_step() -> None:
    tried = begun(None, rollout(FIRST), WHY)
    assert (tried.revision, tried.last.action, tried.last.version) == (
        1, Action.SHADOWED, "small-g1",
    )  # fmt: skip
    served = widened(tried, 0.25, 99.0, WHY)
    assert served.rollout is not None
    assert (served.revision, served.last.action) == (2, Action.CANARIED)
    assert (served.rollout.stage, served.rollout.share, served.rollout.until) == (
        Stage.CANARY, 0.25, 99.0,
    )  # fmt: skip
    assert served.rollout.id == tried.rollout.id if tried.rollout else None
    done = promoted(served, WHY)
    assert (done.revision, done.last.action) == (3, Action.PROMOTED)
    assert (done.incumbent, done.previous, done.rollout) == (FIRST, None, None)


def test_a_rollout_may_begin_with_sessions() -> None:
    state = begun(None, rollout(FIRST, stage=Stage.CANARY), WHY)
    assert state.last.action is Action.CANARIED


def test_a_renewal_is_no_step() -> None:
    state = begun(None, rollout(FIRST), WHY)
    later = renewed(state, 1_900_000_000.0)
    assert later.rollout is not None
    assert (later.revision, later.last) == (state.revision, state.last)
    assert later.rollout.until == 1_900_000_000.0


def test_a_candidate_that_goes_back_leaves_who_served() -> None:
    state = after_promotion_of(1)
    after = ended(begun(state, rollout(SECOND), WHY), WHY)
    assert (after.incumbent, after.previous, after.rollout) == (FIRST, None, None)
    assert (after.last.action, after.last.version) == (Action.ROLLED_BACK, "small-g2")


def test_the_one_before_is_gone_back_to_and_returned_from() -> None:
    state = after_promotion_of(1, 2, 3)
    back = exchanged(state, WHY)
    assert (back.incumbent, back.previous) == (SECOND, THIRD)
    assert (back.last.action, back.last.version) == (Action.ROLLED_BACK, "small-g3")
    again = exchanged(back, WHY)
    assert (again.incumbent, again.previous) == (THIRD, SECOND)
    assert again.revision == state.revision + 2


def test_the_configuration_s_student_is_gone_back_to_and_returned_from() -> None:
    back = exchanged(after_promotion_of(1), WHY)
    assert (back.incumbent, back.previous) == (None, FIRST)
    again = exchanged(back, WHY)
    assert (again.incumbent, again.last.version) == (FIRST, "configuration")


def test_numbers_go_on_from_those_that_are_known() -> None:
    assert next_number(after_promotion_of(1, 2)) == 3


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (
            lambda: begun(begun(None, rollout(FIRST), WHY), rollout(SECOND), WHY),
            "small-g1 is being",
        ),
        (lambda: begun(after_promotion_of(1), rollout(FIRST), WHY), "small-g1 serves already"),
        (lambda: widened(after_promotion_of(1), 0.5, 0.0, WHY), "promoted small-g1 by ada@desk"),
        (lambda: renewed(after_promotion_of(1), 0.0), "no candidate"),
        (lambda: promoted(after_promotion_of(1), WHY), "no candidate"),
        (lambda: ended(after_promotion_of(1), WHY), "no candidate"),
        (lambda: exchanged(None, WHY), "only the configuration's own"),
        (lambda: exchanged(ended(begun(None, rollout(FIRST), WHY), WHY), WHY), "only the config"),
        (lambda: exchanged(begun(None, rollout(FIRST), WHY), WHY), "is being tried"),
    ],
)
def test_a_step_that_the_state_does_not_allow_is_refused(
    step: Callable[[], Generations], why: str
) -> None:
    with pytest.raises(NoStep, match=why):
        step()


def test_every_state_is_one_that_gateways_read() -> None:
    state = begun(after_promotion_of(1, 2), rollout(THIRD), WHY)
    for each in (state, widened(state, 0.05, 9.0, WHY), promoted(state, WHY), ended(state, WHY)):
        assert generations_from_document(generations_document(each)) == each


def test_versions_that_a_state_names_are_in_use() -> None:
    tried = begun(after_promotion_of(1), rollout(generation(2)), WHY)
    assert named_by(None) == {"configuration"}
    assert named_by(after_promotion_of(1)) == {"configuration", "small-g1"}
    assert named_by(tried) == {"configuration", "small-g1", "small-g2"}


def test_a_try_is_a_rollout_that_has_served_sessions() -> None:
    steps: list[Step] = []

    def tried(number: int, shares: Sequence[float]) -> None:
        state = begun(None, rollout(generation(number)), WHY)
        steps.append(state.last)
        for share in shares:
            state = widened(state, share, 2e9, WHY)
            steps.append(state.last)
        steps.append(ended(state, WHY).last)

    tried(1, [0.05, 0.25])
    tried(2, [0.05])
    tried(1, [])
    assert tries_of("small-g1", reversed(steps)) == 1
    tried(1, [0.05])
    assert tries_of("small-g1", reversed(steps)) == 2
    assert tries_of("small-g2", reversed(steps)) == 1
    assert tries_of("small-g3", reversed(steps)) == 0
