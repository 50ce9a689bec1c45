"""The promise held, and what that costs; the same harness sees other rules break it.

Few runs always; 400 of 20,000 requests a cell with --full.
"""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.promise.controls import Naive
from evaluation.promise.design import Design, Promise
from evaluation.promise.floors import Floor
from evaluation.promise.runs import BATCH, Course, Size, serve, simulate
from evaluation.promise.traffic import Traffic, plateau, traffic_of
from evaluation.simulate import population_of
from tests.evaluation.promise.populations import REAL, SYNTHETIC, traffic

FEW = Size(runs=60, requests=8_000)
MANY = Size(runs=400)
COLD = Design(per_request=True)
BILLS = (("emotion", 0.09, 0.13), ("mmlu", 0.10, 0.15), ("cosmosqa", 0.38, 0.52))
LEVELS = ((0.05, 0.05, 0.072), (0.1, 0.1, 0.13), (0.02, 0.01, 0.025))


def held(name: str, design: Design = COLD, size: Size = FEW) -> Course:
    return simulate(traffic(name), design, design.alpha, size)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


# --- always ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["syn30/.90", "bump", "emotion"])
def test_few_runs_ever_break_the_promise_and_most_keep_something(name: str) -> None:
    found = held(name, replace(COLD, alpha=0.1, delta=0.1))
    assert found.ever_above <= 0.1 + 2 * np.sqrt(0.09 / FEW.runs)
    assert mean(found.kept_at(FEW.requests)) >= 0.68 * found.oracle


@pytest.mark.parametrize(("name", "now", "cumulative"), BILLS[:1])
def test_bill_is_not_far_over_the_oracles(name: str, now: float, cumulative: float) -> None:
    size = Size(runs=100)
    found = held(name, size=size)
    assert mean(found.bill_over(size.requests)) <= now
    assert mean(found.bill_over(size.requests, is_cumulative=True)) <= cumulative


def test_point_estimate_over_a_window_breaks_it_nearly_always() -> None:
    found = simulate(traffic("syn30/.90"), Naive(window=2_000), 0.05, FEW)
    assert found.ever_above >= 0.95


def test_levels_without_an_order_break_it_where_many_are_a_hair_above() -> None:
    size = Size(runs=200, requests=10_000)
    ordered, unordered = (
        simulate(traffic("plateau"), Design(audit=1.0, is_ordered=is_ordered), 0.05, size)
        for is_ordered in (True, False)
    )
    assert ordered.ever_above <= 0.05 + 2 * np.sqrt(0.0475 / size.runs)
    assert unordered.ever_above > 0.06


def test_turns_of_a_conversation_taken_as_independent_break_it_and_as_one_bet_do_not() -> None:
    size = Size(runs=200, requests=6_000, turns=5)
    alone, together = (
        simulate(traffic("plateau"), Design(per_request=True, turns=turns), 0.05, size)
        for turns in (1, 5)
    )
    assert alone.ever_above > 0.2
    assert together.ever_above <= 0.05 + 2 * np.sqrt(0.0475 / size.runs)


@pytest.mark.parametrize("is_shared", [True, False])
def test_attempts_hold_the_promise_together_because_they_share_its_delta(
    is_shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student a hair above alpha at every level is given up often, and far too soon."""
    monkeypatch.setattr("evaluation.promise.design.HOPELESS", 0.04)
    if not is_shared:
        monkeypatch.setattr("evaluation.promise.design.delta_of", lambda delta, attempt: delta)
    flat = traffic_of(population_of(np.linspace(1.0, 0.0, 20_000), np.full(20_000, 0.7996)))
    design, made = Design(alpha=0.2, per_request=True, hold_at_most=500), []

    def maker(of: Traffic, runs: int) -> Promise:
        made.append(design(of, runs))
        return made[-1]

    found = simulate(flat, maker, 0.2, Size(runs=100, requests=10_000))
    assert np.median(made[0].attempts) > 5
    most = 0.05 + 2 * np.sqrt(0.0475 / 100)
    assert (found.ever_above > most) != is_shared


def test_nothing_is_kept_before_the_hold_is_over() -> None:
    size = Size(runs=20, requests=4_000)
    early = held("syn30/.90", replace(COLD, release=0.0), size)
    late = held("syn30/.90", replace(COLD, release=9.0, hold_at_most=3_000), size)
    assert np.median(early.first_in_force) < 2_000
    assert set(late.first_in_force) == {3_000.0}


def test_first_requests_that_made_the_grid_prove_nothing() -> None:
    rule = Design(grid_requests=200)(traffic("syn30/.90"), 3)
    before = rule.grid.kept.copy()
    generator = np.random.default_rng(0)
    for _ in range(200 // BATCH):
        rule.take(serve(rule.traffic, rule, generator, Size(3)))
    assert (rule.wealth() == 1.0).all()
    assert (rule.grid.kept != before).any()


def test_audits_of_all_requests_are_spread_over_the_kept_ones() -> None:
    found = held("syn30/.90")
    in_force = found.kept > 0.0
    assert found.audited[in_force] == pytest.approx(0.02, rel=0.01)
    assert (found.audited[~in_force] == 0.0).all()


def test_records_of_the_past_shorten_the_hold() -> None:
    cold, warm = (held("syn30/.90", replace(COLD, warm=warm)) for warm in (0, 2_000))
    assert np.median(warm.first_in_force) <= np.median(cold.first_in_force) - 1_000


def test_records_of_an_easier_route_break_it_and_its_level_does_not() -> None:
    size = Size(runs=100, requests=6_000)
    easier = traffic("syn30/.90")
    records, level = (
        held("syn30/.85", replace(COLD, **taken), size)
        for taken in ({"warm": 2_000, "others": easier}, {"other_share": 0.6, "other_part": 0.8})
    )
    assert records.ever_above > 0.1
    assert level.ever_above <= 0.05 + 2 * np.sqrt(0.0475 / size.runs)


def test_second_chain_begins_where_another_routes_level_is() -> None:
    size = Size(runs=20, requests=6_000)
    design = replace(COLD, release=0.0, hold_at_most=1_000)
    usual = held("syn30/.90", design, size)
    second = held("syn30/.90", replace(design, other_share=0.4, other_part=1.0), size)
    assert (usual.kept[usual.kept > 0.0] < 0.4).any()
    assert second.kept.max() > 0.0
    assert (second.kept[second.kept > 0.0] >= 0.4 - 1e-9).all()


def test_floor_lies_above_what_is_kept_and_below_the_oracle() -> None:
    found = held("syn30/.90")
    kept = mean(found.kept_at(FEW.requests))
    anytime, one_look = (mean(found.floor_at(FEW.requests, each, 0.05)) for each in Floor)
    assert 0.9 * anytime <= kept <= anytime <= one_look <= found.oracle


# --- with --full ----------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize(("alpha", "delta", "most"), LEVELS)
@pytest.mark.parametrize("name", [*SYNTHETIC, *REAL])
@pytest.mark.parametrize("warm", [0, 2_000])
def test_promise_holds_in_four_hundred_runs(
    name: str, alpha: float, delta: float, most: float, warm: int
) -> None:
    found = held(name, replace(COLD, alpha=alpha, delta=delta, warm=warm), MANY)
    assert found.ever_above <= most


@pytest.mark.full
@pytest.mark.parametrize(("alpha", "delta", "most"), LEVELS)
@pytest.mark.parametrize("audit", [0.02, 0.06, 1.0])
def test_promise_holds_where_every_level_is_a_hair_above(
    alpha: float, delta: float, most: float, audit: float
) -> None:
    found = simulate(plateau(alpha), Design(alpha, delta, audit), alpha, MANY)
    assert found.ever_above <= most


@pytest.mark.full
@pytest.mark.parametrize(("alpha", "delta", "most"), LEVELS)
@pytest.mark.parametrize("above", [1.002, 3.0, 8.0])
def test_promise_holds_where_no_level_is_good_and_attempts_follow_each_other(
    alpha: float, delta: float, most: float, above: float
) -> None:
    wrong = np.full(20_000, above * alpha)
    flat = traffic_of(population_of(np.linspace(1.0, 0.0, 20_000), 1.0 - wrong))
    design = replace(COLD, alpha=alpha, delta=delta, hold_at_most=500)
    found = simulate(flat, design, alpha, MANY)
    assert found.ever_above <= most


@pytest.mark.full
@pytest.mark.parametrize(
    "design",
    [
        Design(per_request=False),
        replace(COLD, audit=0.06),
        replace(COLD, release=0.9),
        replace(COLD, grid_requests=200),
        replace(COLD, grid_requests=1_000),
    ],
    ids=["audits-of-kept", "audit-6%", "hold-0.9", "grid-200", "grid-1000"],
)
@pytest.mark.parametrize("name", ["bump", "cosmosqa"])
def test_promise_holds_however_it_is_set(name: str, design: Design) -> None:
    assert held(name, design, MANY).ever_above <= 0.072


@pytest.mark.full
@pytest.mark.parametrize("name", ["syn30/.90", "bump", *REAL])
def test_window_breaks_it_in_nineteen_of_twenty_runs(name: str) -> None:
    found = simulate(traffic(name), Naive(window=2_000), 0.05, MANY)
    assert found.ever_above >= 0.95


@pytest.mark.full
def test_missing_order_breaks_it_in_a_thousand_runs() -> None:
    design = Design(audit=1.0, is_ordered=False)
    found = simulate(traffic("plateau"), design, 0.05, Size(runs=1_000))
    assert found.ever_above >= 0.07


@pytest.mark.full
@pytest.mark.parametrize(("name", "now", "cumulative"), BILLS)
@pytest.mark.parametrize("per_request", [True, False])
def test_bill_is_that_much_over_the_oracles(
    name: str, now: float, cumulative: float, per_request: bool
) -> None:
    found = held(name, Design(per_request=per_request), MANY)
    assert mean(found.bill_over(MANY.requests)) <= now
    assert mean(found.bill_over(MANY.requests, is_cumulative=True)) <= cumulative


@pytest.mark.full
@pytest.mark.parametrize("name", SYNTHETIC)
def test_most_of_what_the_oracle_keeps_is_kept(name: str) -> None:
    found = held(name, size=MANY)
    kept = mean(found.kept_at(MANY.requests))
    if found.oracle >= 0.25:
        # A bump of sure errors at the top is the one thing that costs more: it stalls the chain.
        assert kept >= (0.63 if name == "bump" else 0.68) * found.oracle
        anytime = mean(found.floor_at(MANY.requests, Floor.ANYTIME, 0.05))
        assert kept >= (0.84 if name == "bump" else 0.9) * anytime
