import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.baseline import Correction, Estimate, Missing
from routing.bill import Entry
from routing.ledger import NOBODY, STEP, Name, Sums, Unreadable, decode
from routing.money import Usage
from routing.vocabulary import Basis, Kind, Role

TENANTS = st.sampled_from([NOBODY, "search-team", "a.b_c", "e12", "x_e12"])
USAGES = st.builds(
    lambda cached, fresh, reasoning, visible: Usage(
        cached + fresh, reasoning + visible, cached, reasoning
    ),
    *[st.integers(0, 10**6)] * 4,
)
ENTRIES = st.builds(
    Entry,
    st.sampled_from(Role),
    st.sampled_from(Kind),
    st.none() | USAGES,
    st.none() | st.integers(0, 10**40),
    st.booleans(),
)
HISTORIES = st.lists(st.tuples(TENANTS, ENTRIES), max_size=30)


def total(sums: Sums, what: str) -> int:
    return sum(amount for name, amount in sums.amounts.items() if name[-1] == what)


def told(sums: Sums) -> dict[Name, int]:
    """What is not nothing."""
    return {name: amount for name, amount in sums.amounts.items() if amount}


@given(HISTORIES)
def test_the_sums_are_those_of_the_entries_exactly(history: list[tuple[str, Entry]]) -> None:
    sums = Sums()
    for tenant, entry in history:
        sums.charge(tenant, entry)
    entries = [entry for _, entry in history]
    usages = [entry.usage for entry in entries if entry.usage is not None]
    assert total(sums, "calls") == len(entries)
    assert total(sums, "cost_pico") == sum(entry.cost_pico or 0 for entry in entries)
    assert total(sums, "cost_unknown") == sum(entry.cost_pico is None for entry in entries)
    assert total(sums, "usage_unknown") == len(entries) - len(usages)
    assert total(sums, "estimated") == sum(entry.is_estimated for entry in entries)
    assert total(sums, "estimated_pico") == sum(
        entry.cost_pico or 0 for entry in entries if entry.is_estimated
    )
    for what in ("input", "output", "cached_input", "reasoning"):
        assert total(sums, what) == sum(getattr(usage, what) for usage in usages)
    for tenant in {tenant for tenant, _ in history}:
        of_it = [entry for who, entry in history if who == tenant]
        mine = Sums({name: each for name, each in sums.amounts.items() if name[0] == tenant})
        assert total(mine, "cost_pico") == sum(entry.cost_pico or 0 for entry in of_it)


@given(HISTORIES, st.randoms(use_true_random=False))
def test_any_cut_in_any_order_gives_the_same_books(
    history: list[tuple[str, Entry]], dice: random.Random
) -> None:
    whole, posted = Sums(), list[tuple[str, int]]()
    parts = [Sums() for _ in range(4)]
    for tenant, entry in history:
        whole.charge(tenant, entry)
        dice.choice(parts).charge(tenant, entry)
    dice.shuffle(parts)
    for part in parts:
        fields = list(part.encode().items())
        cut = dice.randrange(len(fields) + 1)
        posted += [*fields[cut:], *fields[:cut]]
    assert told(decode(posted)) == told(whole)


@given(st.integers(-(10**60), 10**60))
def test_every_field_is_below_what_a_store_adds_up_without_a_limit(amount: int) -> None:
    sums = Sums({("t", "baseline", "measured"): amount})
    fields = sums.encode()
    assert all(0 < abs(each) < STEP for each in fields.values())
    assert told(decode(fields.items())) == told(sums)


def test_fields_say_what_they_are_of() -> None:
    sums = Sums()
    sums.count("search-team", "kept")
    entry = Entry(Role.STUDENT, Kind.SERVED, Usage(20, 3, 8, 1), 5 * STEP + 7, is_estimated=True)
    sums.charge("search-team", entry)
    sums.compare(NOBODY, Estimate(9, Basis.MEASURED))
    sums.compare(NOBODY, Estimate(None, Basis.PRICES, Missing.PRICE))
    sums.correct(NOBODY, Correction(3, 4))
    sums.correct(NOBODY, Correction(-5, 6))
    sums.correct(NOBODY, None)
    assert sums.encode() == {
        "requests:kept:search-team": 1,
        "student:served:calls:search-team": 1,
        "student:served:input:search-team": 20,
        "student:served:output:search-team": 3,
        "student:served:cached_input:search-team": 8,
        "student:served:reasoning:search-team": 1,
        "student:served:cost_pico:search-team": 7,
        "student:served:cost_pico_e12:search-team": 5,
        "student:served:estimated:search-team": 1,
        "student:served:estimated_pico:search-team": 7,
        "student:served:estimated_pico_e12:search-team": 5,
        "baseline:measured:-": 9,
        "baseline:known:-": 1,
        "baseline:unknown:-": 1,
        "correction:up:-": 3,
        "correction:down:-": 5,
        "correction:variance:-": 10,
        "correction:known:-": 2,
        "correction:unknown:-": 1,
    }


def test_an_unknown_cost_is_counted_and_never_nothing() -> None:
    sums = Sums()
    sums.charge("t", Entry(Role.TEACHER, Kind.WASTED, None, None))
    assert sums.encode() == {
        "teacher:wasted:calls:t": 1,
        "teacher:wasted:usage_unknown:t": 1,
        "teacher:wasted:cost_unknown:t": 1,
    }


def test_a_field_of_no_tenant_is_refused() -> None:
    with pytest.raises(Unreadable, match="calls"):
        decode([("calls", 1)])


def test_a_word_that_only_looks_like_a_step_is_a_word() -> None:
    fields = {"a:b_early:t": 1, "a:b_e1000:t": 2}
    assert decode(fields.items()).amounts == {("t", "a", "b_early"): 1, ("t", "a", "b_e1000"): 2}


def test_what_a_call_did_not_use_stands_in_no_book() -> None:
    sums = Sums()
    sums.charge("ann", Entry(Role.TEACHER, Kind.SERVED, Usage(5, 7), 12))
    assert {name[-1] for name in sums.amounts} == {"calls", "input", "output", "cost_pico"}
