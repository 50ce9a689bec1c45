import math
from dataclasses import replace

import pytest

from routing.promise.bets import STAKES
from routing.promise.epoch import (
    LEAST_SEEN,
    Counts,
    Epoch,
    delta_of,
    epoch_with,
    new_epoch,
)
from routing.promise.grid import Grid
from routing.promise.terms import HeadStart, Terms
from routing.steering import Report, Sample
from tests.routing.promise.street import graded

TERMS = Terms(0.1, 0.1, hold_at_most=1_000)
# The chain begins at the second level.
GRID = Grid((0.9, 0.8, 0.6, 0.4), (0.05, 0.2, 0.4, 0.8))
DELTA = 0.1
BAR = -math.log(DELTA)


def epoch() -> Epoch:
    return new_epoch(GRID, DELTA)


def with_best(*best: float) -> Epoch:
    return replace(epoch(), best=best)


def with_counts(*counts: tuple[float, float]) -> Counts:
    weights, losses = zip(*counts, strict=True)
    return Counts(weights, losses, tuple(map(int, weights)))


def test_all_attempts_together_err_with_delta_and_the_first_with_nearly_all_of_it() -> None:
    deltas = [delta_of(0.05, attempt) for attempt in range(1, 10_000)]
    assert deltas[0] == pytest.approx(0.0475)
    assert deltas == sorted(deltas, reverse=True)
    assert sum(deltas) == pytest.approx(0.05, rel=1e-3)
    assert sum(deltas) < 0.05


@pytest.mark.parametrize(
    ("best", "certified", "following"),
    [
        ((0.0, 0.0, 0.0, 0.0), -1, 1),
        ((9.0, 0.0, 9.0, 9.0), -1, 1),  # what lies before the chain, or after a gap, is no use
        ((0.0, BAR, 0.0, 9.0), 1, 2),
        ((0.0, BAR - 1e-9, 9.0, 9.0), -1, 1),
        ((0.0, 9.0, BAR, 1.0), 2, 3),
        ((0.0, 9.0, 9.0, 9.0), 3, 3),
    ],
)
def test_levels_are_certified_in_their_order(
    best: tuple[float, ...], certified: int, following: int
) -> None:
    found = with_best(*best)
    assert (found.certified, found.following) == (certified, following)
    assert found.in_force == -1
    assert replace(found, is_released=True).in_force == certified


def test_what_was_reached_once_stays_certified() -> None:
    reached = epoch().learned([graded(0.85, 0.0, 1)] * 60, TERMS, 0.0).looked(TERMS)
    assert reached.certified == 3
    spoilt = reached.learned([graded(0.85, 1.0, 1)] * 60, TERMS, 0.0).looked(TERMS)
    assert spoilt.certified == 3
    assert spoilt.best == reached.best


def test_a_grade_counts_for_the_levels_that_keep_its_draft() -> None:
    found = epoch().learned([graded(0.6, 0.0, 1)] * 60, TERMS, 0.0).looked(TERMS)
    assert [best > BAR for best in found.best] == [False, False, True, True]
    assert found.certified == -1


def test_a_grade_weighs_what_it_stands_for() -> None:
    grades = [graded(0.85, 1.0, 1, propensity=0.25, least=0.25, is_kept=True), graded(0.3, 0.5, 1)]
    counts = epoch().learned(grades, TERMS, 0.0).counts
    assert counts == Counts((0.0, 4.0, 0.0, 0.0, 1.0), (0.0, 4.0, 0.0, 0.0, 0.5), (0, 1, 0, 0, 1))
    assert (counts.risk(0), counts.risk(1), counts.risk_beyond(1)) == (None, 1.0, 0.5)
    assert with_counts((1.0, 0.0)).risk_beyond(0) is None


@pytest.mark.parametrize(
    ("counts", "level"),
    [
        (((0.0, 0.0), (0.0, 0.0)), -1),
        (((10.0, 1.0), (0.0, 0.0)), 0),  # exactly alpha
        (((10.0, 2.0), (10.0, 0.0), (0.0, 0.0)), 1),  # the more permissive may look better
        (((10.0, 2.0), (0.0, 0.0)), -1),
    ],
)
def test_the_most_permissive_level_within_alpha_looks_good(
    counts: tuple[tuple[float, float], ...], level: int
) -> None:
    assert with_counts(*counts).looks_good(0.1) == level


def test_rounding_decides_nothing_about_what_looks_good() -> None:
    weights, losses = sum([1.0 / 0.07] * 10), 1.0 / 0.07
    assert losses > weights * 0.1  # though it is a tenth
    assert Counts((weights, 0.0), (losses, 0.0), (10, 0)).looks_good(0.1) == 0


@pytest.mark.parametrize(
    ("certified", "hoped", "judged", "is_released"),
    [
        (1, 2, 10, False),  # keeps 0.2 where 0.4 look possible
        (2, 2, 10, True),
        (2, 3, 10, False),
        (1, -1, 10, True),  # nothing looks better
        (-1, -1, 10, False),
        (-1, 3, 1_000, True),  # long enough
        (1, 3, 999, False),
        (1, 3, 1_000, True),
    ],
)
def test_all_is_held_until_the_certified_level_keeps_nearly_what_looks_possible(
    certified: int, hoped: int, judged: int, is_released: bool
) -> None:
    best = tuple(9.0 if level <= certified else 0.0 for level in range(4))
    losses = [(10.0, 0.0 if level <= hoped else 100.0) for level in range(5)]
    found = replace(with_best(*best), counts=with_counts(*losses), judged=judged).looked(TERMS)
    assert found.is_released is is_released
    assert found.looked(replace(TERMS, release=1.0, hold_at_most=9_999)).is_released is is_released


def test_the_first_certificate_is_remembered() -> None:
    found = replace(with_best(0.0, 9.0, 0.0, 0.0), judged=70).looked(TERMS)
    assert found.first_at == 70
    assert replace(found, judged=90).looked(TERMS).first_at == 70


def test_the_kept_share_follows_the_traffic() -> None:
    found = epoch()
    assert (found.share(-1), found.share(2)) == (0.0, 0.4)
    few = [Sample(0.95), Sample(0.1)]
    found = found.served([Report("a", 1, 0.0, 1.0, judged=int(LEAST_SEEN) - 1, samples=few)], 0.0)
    assert found.share(0) == 0.05
    found = found.served([Report("a", 2, 0.0, 1.0, judged=2, samples=few)], 0.0)
    assert found.share(0) == pytest.approx(0.5)
    found = found.served([Report("a", 3, 0.0, 1.0, judged=50_000, samples=[Sample(0.1)])], 0.0)
    assert found.share(0) < 0.01
    assert found.judged == 50_501


def test_a_report_without_drafts_says_nothing_of_them() -> None:
    found = epoch()
    assert found.served([Report("a", 1, 0.0, 1.0, forced=5)], 0.0) == found
    assert found.served([Report("a", 1, 0.0, 1.0, judged=5)], 0.0).flow == found.flow
    assert found.learned([], TERMS, 0.0) is found


def test_a_conversation_bets_when_it_is_over() -> None:
    grades = [graded(0.85, 0.0, 1, conversation="x")] * 3
    waiting = epoch().served([Report("a", 1, 0.0, 1.0, judged=4, turns={"x": 4})], 0.0)
    waiting = waiting.learned(grades, TERMS, 0.0)
    assert waiting.wealth == epoch().wealth
    assert waiting.closed(TERMS, 1.0) == (waiting, ())
    over, (cluster,) = waiting.closed(TERMS, 600.0)
    assert cluster.turns == 4
    mean = -0.1 * 3 / 4 / (1.0 - 0.1)
    assert over.wealth[1] == pytest.approx([math.log1p(-stake * mean) for stake in STAKES])


def test_a_head_start_is_so_many_requests_of_the_hold() -> None:
    good = HeadStart((0.9, 0.5), ((100, *(0,) * 16), (100, *(0,) * 16)), below=50)
    found = epoch_with(good, TERMS)
    assert (found.judged, found.graded, found.certified) == (250, 250, 1)
    assert found.counts.labels == (100, 100, 50)
    assert found.is_released
    poor = HeadStart((0.9, 0.5), ((80, *(0,) * 15, 20), (0,) * 17), below=50)
    assert epoch_with(poor, TERMS).certified == -1


def test_a_gain_that_comes_too_late_is_dropped_and_a_loss_weighs_a_conversation() -> None:
    over, _ = (
        epoch()
        .served([Report("a", 1, 0.0, 1.0, judged=8, turns={"x": 8})], 0.0)
        .closed(TERMS, 600.0)
    )
    gain, loss = (graded(0.85, each, 1, conversation="x", late=600.0) for each in (0.0, 1.0))
    assert over.learned([gain], TERMS, 600.0) is over
    alone = over.learned([loss], TERMS, 600.0)
    assert alone.wealth == over.learned([replace(loss, conversation=None)], TERMS, 600.0).wealth
    assert alone.wealth[1][-1] == pytest.approx(math.log1p(-STAKES[-1]))


def test_requests_of_which_no_grade_may_come_use_up_nothing_of_the_hold() -> None:
    found = epoch().served([Report("a", 1, 0.0, 1.0, judged=1_200, mute=300)], 0.0).looked(TERMS)
    assert (found.judged, found.is_released) == (900, False)
    found = found.served([Report("a", 2, 0.0, 1.0, judged=100)], 0.0).looked(TERMS)
    assert (found.judged, found.is_released) == (1_000, True)


@pytest.mark.parametrize(
    ("grades", "is_released", "certified", "is_hopeless"),
    [
        (60, True, False, True),
        (60, False, False, False),  # the hold is not over
        (60, True, True, False),
        (40, True, False, False),
    ],
)
def test_it_is_beyond_hope_where_the_first_level_could_never_be_made_up_for(
    grades: int, is_released: bool, certified: bool, is_hopeless: bool
) -> None:
    best = (0.0, 9.0 if certified else 0.0, 0.0, 0.0)
    found = replace(with_best(*best), is_released=is_released)
    found = found.learned([graded(0.85, 1.0, 1)] * grades, TERMS, 0.0)
    assert found.is_hopeless is is_hopeless
    others = replace(with_best(*best), is_released=is_released)
    assert not others.learned([graded(0.7, 1.0, 1)] * grades, TERMS, 0.0).is_hopeless
