"""Every row is the exact sum of its part of the books, and all rows together are the whole."""

import random
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.baseline import Correction, Estimate
from routing.bill import Entry
from routing.ledger import Sums
from routing.money import Usage, usd
from routing.vocabulary import Basis, Kind, Named, Role
from understudy.bill.books import Book
from understudy.bill.statement import By, Row, columns, statement

DAYS = [date(2026, 11, 29), date(2026, 11, 30), date(2026, 12, 1)]
PICO = Decimal(10) ** -12


def made(dice: random.Random, entries: int) -> list[Book]:
    books = {(c, day): Sums() for c in ("a", "b") for day in DAYS}
    for _ in range(entries):
        sums = books[dice.choice(["a", "b"]), dice.choice(DAYS)]
        tenant = dice.choice(["-", "x", "y"])
        cost = dice.choice([None, dice.randrange(10**20)])
        usage = dice.choice([None, Usage(dice.randrange(1000), dice.randrange(1000))])
        role: Role | Named = dice.choice([*Role, *Named])
        sums.charge(tenant, Entry(role, dice.choice(list(Kind)), usage, cost))
        sums.count(tenant, dice.choice(["kept", "escalated"]))
        known = dice.choice([None, dice.randrange(10**20)])
        sums.compare(tenant, Estimate(known, dice.choice(list(Basis))))
    return [Book(cascade, day, sums) for (cascade, day), sums in books.items()]


def total(rows: list[Row], column: str) -> Decimal:
    return sum((Decimal(row.values[column] or 0) for row in rows), Decimal(0))


@given(
    st.randoms(use_true_random=False),
    st.integers(1, 40),
    st.lists(st.sampled_from(By), unique=True, max_size=4),
)
def test_rows_add_up_to_the_whole_however_it_is_broken_down(
    dice: random.Random, entries: int, by: list[By]
) -> None:
    books = made(dice, entries)
    rows = statement(books, by)
    (whole,) = statement(books, [])
    additive = [
        name for name in columns(by) if not name.startswith(("net_", "baseline_usd"))
    ]  # None of these is a part of a known whole
    for name in additive:
        assert total(rows, name) == Decimal(whole.values[name] or 0), name
    keys = [row.key for row in rows]
    assert keys == sorted(set(keys))
    for row in rows:
        assert list(row.values) == columns(by)
        if By.KIND not in by:
            kinds = [Decimal(row.values[f"{kind}_usd"] or 0) for kind in Kind]
            assert sum(kinds) == Decimal(row.values["cost_usd"] or 0)


def test_what_passes_to_a_named_model_is_paid_and_saves_nothing() -> None:
    cascade, named = Sums(), Sums()
    cascade.charge("t", Entry(Role.STUDENT, Kind.SERVED, Usage(20, 3), 10))
    cascade.compare("t", Estimate(100, Basis.PRICES))
    named.count("t", "passed")
    named.charge("t", Entry(Named.MODEL, Kind.SERVED, Usage(7, 0), 1000))
    books = [Book("a", DAYS[0], cascade), Book("emb", DAYS[0], named)]
    (total,) = statement(books, [])
    assert total.values["cost_usd"] == usd(1010)
    assert total.values["net_saving_usd"] == usd(90)
    rows = {row.key: row.values for row in statement(books, [By.CASCADE, By.ROLE])}
    assert rows["emb", "model"]["cost_usd"] == usd(1000)
    (_, row) = statement(books, [By.CASCADE])
    assert (row.key, row.values["requests"], row.values["baseline_usd"]) == (("emb",), 1, None)


def one(sums: Sums, *by: By) -> dict[str, str | int | None]:
    (row,) = statement([Book("a", DAYS[0], sums)], by)
    return row.values


def entry(
    cost: int | None,
    role: Role = Role.STUDENT,
    kind: Kind = Kind.SERVED,
    *,
    estimated: bool = False,
) -> Entry:
    return Entry(role, kind, Usage(20, 3, 8, 1), cost, estimated)


def test_figures_are_exact_decimals() -> None:
    sums = Sums()
    sums.charge("x", entry(12_345_678_901_234_567_890))
    sums.charge("x", entry(1, kind=Kind.WASTED, estimated=True))
    values = one(sums)
    assert values["cost_usd"] == "12345678.901234567891"
    assert values["served_usd"] == "12345678.90123456789"
    assert values["wasted_usd"] == values["estimated_usd"] == "0.000000000001"
    assert values["audit_usd"] == "0.0"
    assert (values["input_tokens"], values["cached_input_tokens"]) == (40, 16)
    assert (values["output_tokens"], values["reasoning_tokens"]) == (6, 2)


def test_a_cost_of_which_nothing_is_known_is_unknown() -> None:
    sums = Sums()
    sums.charge("x", entry(None))
    values = one(sums)
    assert (values["cost_usd"], values["served_usd"], values["wasted_usd"]) == (None, None, "0.0")
    assert values["cost_unknown_calls"] == 1
    sums.charge("x", entry(5))
    assert one(sums)["cost_usd"] == "0.000000000005"


def test_savings_are_net_of_everything_and_can_be_negative() -> None:
    sums = Sums()
    sums.charge("x", entry(70))
    sums.charge("x", entry(50, Role.TEACHER, Kind.AUDIT))
    sums.compare("x", Estimate(60, Basis.PRICES))
    sums.compare("x", Estimate(40, Basis.MEASURED))
    values = one(sums, By.TENANT)
    assert values["baseline_usd"] == "0.0000000001"
    assert values["net_saving_usd"] == "-0.00000000002"
    assert values["net_saving_low_usd"] is None, "without a holdout nobody knows how sure it is"


def test_without_a_known_baseline_there_is_no_saving() -> None:
    sums = Sums()
    sums.charge("x", entry(70))
    sums.compare("x", Estimate(None, Basis.PRICES))
    values = one(sums)
    assert (values["baseline_usd"], values["net_saving_usd"]) == (None, None)
    assert values["baseline_unknown_requests"] == 1


def test_a_holdout_corrects_the_baseline_and_bounds_the_saving() -> None:
    sums = Sums()
    sums.compare("x", Estimate(1000, Basis.SAMPLE))
    sums.correct("x", Correction(500, 10**4))
    for _ in range(98):
        sums.correct("x", Correction(0, 0))
    assert one(sums)["net_saving_low_usd"] is None, "too few to say how sure it is"
    sums.correct("x", Correction(-200, 0))
    values = one(sums)
    assert values["net_saving_usd"] == "0.0000000013"
    low, high = (Decimal(str(values[f"net_saving_{end}_usd"])) / PICO for end in ("low", "high"))
    assert [low, high] == [1300 - 197, 1300 + 197], "1.96 times 100, rounded outwards"


@pytest.mark.parametrize("by", [By.ROLE, By.KIND])
def test_requests_and_savings_belong_to_no_model_and_no_purpose(by: By) -> None:
    sums = Sums()
    sums.count("x", "kept")
    sums.charge("x", entry(1))
    (row,) = statement([Book("a", DAYS[0], sums)], [by])
    assert row.key in {("student",), ("served",)}
    assert not {"requests", "baseline_usd", "net_saving_usd"} & set(row.values)


def test_what_a_later_gateway_counts_beside_it_is_left_out() -> None:
    sums = Sums({("x", "weather", "sunny", "days", "of"): 3, ("x", "requests", "kept"): 1})
    assert one(sums)["requests"] == 1
