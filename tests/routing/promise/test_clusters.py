import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.promise.bets import STAKES
from routing.promise.clusters import (
    MOST_OPEN,
    MOST_TURNS,
    REPORT_SECONDS,
    SETTLED_SECONDS,
    Cluster,
    Clusters,
    Fate,
    Item,
    closed,
    fate_of,
    graded,
    turned,
)
from routing.promise.terms import Terms
from tests.routing.promise import street

IDLE = 600.0
TERMS = Terms(0.1, 0.1, idle_seconds=IDLE)


def item(place: int, loss: float, *, is_kept: bool = False) -> Item:
    return Item(place, loss, loss - 0.1, is_kept)


def test_turns_that_nobody_graded_count_in_the_mean() -> None:
    clusters = turned({}, {"x": 4}, 0.0)
    clusters = graded(clusters, [("x", item(2, 1.0), 1.0), ("x", item(2, 0.0), 1.0)], 1.0)
    nu = 1.0 / (1.0 - 0.1)
    assert clusters["x"].values(0.1) == {2: pytest.approx(nu * (0.9 - 0.1) / 4)}


ONE: Clusters = turned({}, {"x": 1}, 0.0)


def test_each_bin_bets_its_own_part() -> None:
    clusters = graded(ONE, [("x", item(1, 1.0), 1.0), ("x", item(3, 0.0), 1.0)], 0.0)
    nu = 1.0 / (1.0 - 0.1)
    assert clusters["x"].values(0.1) == pytest.approx({1: nu * 0.9 / 2, 3: nu * -0.1 / 2})


def test_the_bet_is_scaled_to_the_least_likely_grade() -> None:
    told = [("x", item(1, 0.0), 0.04), ("x", item(1, 0.0), 1.0)]
    assert graded(ONE, told, 0.0)["x"].least == 0.04


def test_a_conversation_of_nothing_but_losses_loses_no_more_than_its_stake() -> None:
    audited = Item(0, 1.0, (1.0 - 0.1) / 0.04, is_kept=True)
    cluster = graded(ONE, [("x", audited, 0.04)] * 20, 0.0)["x"]
    assert cluster.values(0.1)[0] <= 1.0


def test_losses_of_kept_and_deferred_turns_are_told_apart() -> None:
    told = [item(0, 1.0, is_kept=True), item(0, 0.0, is_kept=True), item(3, 0.5)]
    cluster = Cluster(0.0, 3, 1.0, tuple(told))
    assert (cluster.kept_loss, cluster.deferred_loss) == (0.5, 0.5)
    assert (Cluster(0.0).kept_loss, Cluster(0.0).deferred_loss) == (None, None)


def test_a_conversation_is_over_after_some_silence_and_a_grade_breaks_it() -> None:
    clusters = turned({}, {"x": 1, "y": 1}, 0.0)
    clusters = graded(clusters, [("x", item(0, 0.0), 1.0)], 100.0)
    going_on, over = closed(clusters, IDLE - 1.0, IDLE)
    assert (going_on, over) == (clusters, ())
    going_on, over = closed(clusters, IDLE, IDLE)
    assert (list(going_on), len(over)) == (["x"], 1)
    assert closed(clusters, IDLE + 100.0, IDLE)[0] == {}


def full(now: float = 0.0) -> Clusters:
    return turned({}, {"x": MOST_TURNS}, now)


def test_a_long_conversation_bets_without_silence_once_its_grades_had_time_to_come() -> None:
    short = turned({}, {"x": MOST_TURNS - 1}, 0.0)
    assert closed(short, SETTLED_SECONDS, IDLE) == (short, ())
    assert closed(full(), SETTLED_SECONDS - 1.0, IDLE) == (full(), ())
    _, over = closed(full(), SETTLED_SECONDS, IDLE)
    assert [one.turns for one in over] == [MOST_TURNS]


def test_one_that_has_bet_is_known_until_it_is_silent_and_bets_no_more() -> None:
    known, _ = closed(full(), SETTLED_SECONDS, IDLE)
    known = turned(known, {"x": 5}, 500.0)
    assert known["x"].turns == MOST_TURNS
    assert closed(known, 500.0 + IDLE - 1.0, IDLE) == (known, ())
    assert closed(known, 500.0 + IDLE, IDLE) == ({}, ())


def test_turns_after_the_first_are_passed_over_and_those_of_the_same_moment_are_not() -> None:
    clusters = turned(turned(full(1.0), {"x": 3}, 1.0), {"x": 7}, 2.0)
    assert (clusters["x"].turns, clusters["x"].last) == (MOST_TURNS + 3, 2.0)


def fate(clusters: Clusters, now: float, late: float, loss: float = 0.0) -> Fate:
    return fate_of(clusters, street.graded(0.5, loss, 1, conversation="x", late=late), TERMS, now)


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_a_grade_counts_if_its_turn_was_one_of_the_first_however_late_it_comes(loss: float) -> None:
    assert fate(full(100.0), 300.0, 200.0 - REPORT_SECONDS, loss) is Fate.COUNTS
    assert fate(full(100.0), 300.0, 200.0 - REPORT_SECONDS - 0.1, loss) is Fate.NOTHING
    assert fate(turned({}, {"x": 1}, 0.0), 1.0, 0.0, loss) is Fate.COUNTS


@pytest.mark.parametrize(("loss", "expected"), [(0.1, Fate.NOTHING), (0.2, Fate.ALONE)])
def test_what_comes_after_its_conversation_has_bet_wins_nothing_and_loses_all_the_more(
    loss: float, expected: Fate
) -> None:
    has_bet, _ = closed(full(0.0), SETTLED_SECONDS, IDLE)
    assert fate(has_bet, SETTLED_SECONDS, SETTLED_SECONDS, loss) is expected
    assert fate({}, 1.0, 0.0, loss) is expected
    another = turned({}, {"x": 1}, 900.0)  # under the same name, which was silent in between
    assert fate(another, 900.0, IDLE + 1.0, loss) is expected


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=16))
def test_late_losses_win_no_more_than_they_would_have_in_the_mean(
    turns: list[tuple[float, bool]],
) -> None:
    alpha, count = 0.1, len(turns)
    values = [(loss - alpha) / (1.0 - alpha) for loss, _ in turns]
    on_time = sum(value for value, (_, is_late) in zip(values, turns, strict=True) if not is_late)
    late = [value for value, (_, is_late) in zip(values, turns, strict=True) if is_late]
    for stake in STAKES:
        split = 1.0 - stake * on_time / count
        for value in late:
            split *= 1.0 - stake * max(0.0, value)
        assert split <= (1.0 - stake * sum(values) / count) * (1.0 + 1e-12)


def test_while_there_is_no_room_a_new_conversation_does_not_count_whatever_it_says() -> None:
    known = turned({}, {f"{place}": 1 for place in range(MOST_OPEN)}, 0.0)
    more = turned(known, {"x": 1, "0": 1}, 1.0)
    assert (len(more), more["0"].turns) == (MOST_OPEN, 2)
    assert fate(more, 1.0, 0.0, 0.0) is fate(more, 1.0, 0.0, 1.0) is Fate.NOTHING
    assert closed(more, 1.0, IDLE) == (more, ())
    room, over = closed(more, IDLE, IDLE)
    assert (len(room), len(over)) == (1, MOST_OPEN - 1)
    assert "x" in turned(room, {"x": 1}, IDLE)


def test_what_is_owed_from_before_there_was_no_room_loses_all_the_same() -> None:
    known = turned({}, {f"{place}": 1 for place in range(MOST_OPEN)}, 900.0)
    assert fate(known, 900.0, IDLE + 1.0, 1.0) is Fate.ALONE
    assert fate(known, 900.0, IDLE + 1.0, 0.0) is Fate.NOTHING
