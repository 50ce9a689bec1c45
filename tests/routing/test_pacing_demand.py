import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from routing.errors import PolicyError
from routing.pacing_demand import (
    HIGHEST,
    LEAST_SAMPLES,
    LOWEST,
    MEMORY_SECONDS,
    MOST_OFF,
    Demand,
    demand_from_document,
    level_of,
)
from routing.pacing_goal import Tally

Drafts = Sequence[tuple[float, float | None]]

NONE = Tally(10.0, 1.0, 0, 0, 0, 0, 0.0, 0.0, [])


def of(samples: Drafts, **others: object) -> Tally:
    return replace(NONE, judged=len(samples), samples=samples, **others)  # type: ignore[arg-type]


def merits(count: int = 2000, seed: int = 1) -> Drafts:
    generator = random.Random(seed)
    return [(generator.random(), 1.0) for _ in range(count)]


def test_of_nothing_nothing_is_expected() -> None:
    nothing = Demand()
    assert nothing.typical is None
    assert nothing.spend_at(0.0) == 0.0
    assert (nothing.off, nothing.beside_each, nothing.forced_each) == (1.0, 0.0, 0.0)
    assert nothing.level_for(1.0) == LOWEST


@pytest.mark.parametrize("share", [0.02, 0.15, 0.6, 0.98])
def test_a_level_is_found_that_spends_what_is_wanted(share: float) -> None:
    demand = Demand().seen(of(merits()), None)
    level = demand.level_for(share)
    assert demand.spend_at(level) == pytest.approx(share)
    below = sum(level_of(merit, 1.0) > level for merit, _ in merits()) / 2000
    assert below == pytest.approx(share, abs=0.01)


def test_samples_weigh_as_many_drafts_as_they_stand_for() -> None:
    busy = replace(of([(0.2, 1.0)] * 10), judged=90)
    demand = Demand().seen(busy, None).seen(of([(0.9, 1.0)] * 10), None)
    assert demand.spend_at(level_of(0.5, 1.0)) == pytest.approx(0.9)
    assert demand.samples == 20


def test_no_spend_is_the_level_of_nothing_and_too_much_that_of_all() -> None:
    demand = Demand().seen(of(merits()), None)
    assert demand.level_for(0.0) == demand.level_for(-1.0) == HIGHEST
    assert demand.spend_at(HIGHEST) == 0.0
    assert demand.level_for(1.5) == LOWEST
    assert demand.spend_at(LOWEST) == pytest.approx(1.0)


def test_a_draft_that_cannot_be_bettered_is_never_escalated() -> None:
    demand = Demand().seen(of([(1.0, 1.0)] * 90 + [(0.5, 1.0)] * 10), None)
    assert demand.spend_at(LOWEST) == pytest.approx(0.1)
    assert demand.level_for(0.5) == LOWEST


def test_cheap_gains_come_before_dear_ones() -> None:
    cheap, dear = (0.8, 1.0), (0.4, 6.0)
    demand = Demand().seen(of([cheap] * 50 + [dear] * 50), None)
    level = demand.level_for(0.5)
    assert level_of(*dear) < level < level_of(*cheap) + 0.1


def test_what_nobody_knows_is_taken_to_cost_what_others_did() -> None:
    unknown: Drafts = [(0.5, None)] * 10
    assert Demand().seen(of(unknown), None).samples == 0.0
    demand = Demand().seen(of(unknown, escalated=2, escalations=6.0, spent=6.0), None)
    assert demand.typical == 3.0
    assert demand.spend_at(LOWEST) == pytest.approx(3.0)


def test_expected_costs_are_typical_until_escalations_tell() -> None:
    assert Demand().seen(of([(0.5, 2.0), (0.6, 4.0)]), None).typical == 3.0


def test_what_comes_dearer_than_expected_is_expected_to_do_so_again() -> None:
    level, demand = level_of(0.2, 1.0), Demand()
    drafts: Drafts = [(0.1, 1.0)] * 20 + [(0.9, 1.0)] * 80
    for _ in range(20):
        demand = demand.seen(of(drafts, escalated=20, escalations=40.0, spent=40.0), level)
    assert demand.off == pytest.approx(860 / 460)  # not yet sure of twice as much
    assert demand.spend_at(level) == pytest.approx(0.2 * demand.off)


def test_no_ratio_is_believed_beyond_its_bounds() -> None:
    dear = replace(Demand(), moved=1e6, expected=1.0, escalated=1.0, escalations=1.0)
    assert dear.off == MOST_OFF
    assert replace(dear, moved=0.0, expected=1e6).off == 1.0 / MOST_OFF


def test_forced_requests_are_beside_what_a_threshold_moves() -> None:
    counted = of(merits(80), forced=20, escalated=40, denied=10, spent=50.0, escalations=40.0)
    demand = Demand().seen(counted, level_of(0.5, 1.0))
    # Of fifty that asked, thirty did because of the threshold.
    assert demand.moved == pytest.approx(24.0)
    assert demand.beside_each == pytest.approx(26.0 / 80)
    assert demand.forced_each == pytest.approx(0.25)


def test_old_drafts_weigh_less_and_traces_are_forgotten() -> None:
    demand = Demand().seen(of([(0.2, 1.0)] * 4000), None).faded(2 * MEMORY_SECONDS)
    assert demand.samples == pytest.approx(4000 * 0.1353, rel=0.01)
    for _ in range(40):
        demand = demand.seen(of([(0.9, 1.0)] * 400), None).faded(MEMORY_SECONDS)
    assert len(demand.places) == 1


def test_no_fewer_drafts_are_remembered_than_tell_something() -> None:
    demand = Demand().seen(of(merits(400)), None)
    assert demand.faded(100 * MEMORY_SECONDS).samples == pytest.approx(LEAST_SAMPLES)
    few = Demand().seen(of(merits(20)), None)
    assert few.faded(100 * MEMORY_SECONDS) == few
    assert demand.faded(0.0) == demand


def test_a_document_is_read_as_it_was_written() -> None:
    demand = Demand().seen(of(merits(50), escalated=3, escalations=3.0, spent=4.0), 0.5)
    assert demand_from_document(demand.document(), "demand") == demand


def test_a_document_that_is_none_is_refused_by_its_path() -> None:
    document = {**Demand().document(), "places": [[1, 2.0]]}
    with pytest.raises(PolicyError, match=r"demand\.places\[0\]: must have 3 entries"):
        demand_from_document(document, "demand")
