from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.money import (
    NOTHING_USED,
    PICO_PER_USD,
    Price,
    Usage,
    cost_of,
    expected_cost,
    less,
    part_of,
    pico_per_token,
    share_of,
    total_of,
    usd,
)

COUNTS = st.integers(min_value=0, max_value=10**9)
PICO = st.integers(min_value=-(10**30), max_value=10**30)
PRICE = Price(input=20_000, cached_input=10_000, output=60_000, reasoning=70_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    whole_input, whole_output = draw(COUNTS), draw(COUNTS)
    return Usage(
        input=whole_input,
        output=whole_output,
        cached_input=draw(st.integers(0, whole_input)),
        reasoning=draw(st.integers(0, whole_output)),
    )


PRICES = st.builds(Price, input=COUNTS, cached_input=COUNTS, output=COUNTS, reasoning=COUNTS)


def known(cost: int | None) -> int:
    assert cost is not None
    return cost


def together(left: Usage, right: Usage) -> Usage:
    return Usage(
        input=left.input + right.input,
        output=left.output + right.output,
        cached_input=left.cached_input + right.cached_input,
        reasoning=left.reasoning + right.reasoning,
    )


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(input=1, output=0), 20_000),
        (Usage(input=1, output=0, cached_input=1), 10_000),
        (Usage(input=0, output=1), 60_000),
        (Usage(input=0, output=1, reasoning=1), 70_000),
        (Usage(input=100, output=10, cached_input=40, reasoning=4), 2_240_000),
        (NOTHING_USED, 0),
    ],
)
def test_every_kind_of_token_has_its_own_price(usage: Usage, cost: int) -> None:
    assert cost_of(usage, PRICE) == cost


def test_unknown_usage_or_price_gives_no_cost_and_never_zero() -> None:
    assert cost_of(None, PRICE) is None
    assert cost_of(NOTHING_USED, None) is None
    assert cost_of(None, None) is None


@given(usages(), usages(), PRICES)
def test_cost_is_additive_over_split_usage(left: Usage, right: Usage, price: Price) -> None:
    parts = [cost_of(left, price), cost_of(right, price)]
    assert cost_of(together(left, right), price) == total_of(parts)


@given(usages(), usages(), PRICES)
def test_more_usage_never_costs_less(some: Usage, more: Usage, price: Price) -> None:
    assert known(cost_of(some, price)) <= known(cost_of(together(some, more), price))


@pytest.mark.parametrize(
    ("counts", "is_refused"),
    [
        ((5, 5, 5, 5), False),
        ((0, 0, 0, 0), False),
        ((5, 5, 6, 0), True),
        ((5, 5, 0, 6), True),
        ((5, 5, -1, 0), True),
        ((5, 5, 0, -1), True),
        ((-1, 0, 0, 0), True),
        ((0, -1, 0, 0), True),
        ((-1, 0, -1, 0), True),
        ((0, -1, 0, -1), True),
    ],
)
def test_a_part_is_never_negative_nor_more_than_its_whole(
    counts: tuple[int, int, int, int], is_refused: bool
) -> None:
    if not is_refused:
        Usage(*counts)
        return
    with pytest.raises(ValueError, match=r"^token counts do not add up: "):
        Usage(*counts)


@pytest.mark.parametrize(
    ("price", "pico"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.000001", 1),
        ("0.02", 20_000),
        ("3.0000000", 3_000_000),
        ("75", 75_000_000),
    ],
)
def test_prices_are_whole_pico_dollars_per_token(price: str, pico: int) -> None:
    assert pico_per_token(Decimal(price)) == pico


@pytest.mark.parametrize("price", ["-0.000001", "-1", "NaN", "sNaN", "Infinity", "-Infinity"])
def test_price_below_zero_or_not_finite_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match=r"^a price must be a finite number of at least 0, got "):
        pico_per_token(Decimal(price))


@pytest.mark.parametrize("price", ["0.0000001", "1.0000005", "1E-40"])
def test_price_finer_than_six_decimals_is_refused_rather_than_rounded(price: str) -> None:
    with pytest.raises(ValueError, match=r"^a price has at most six decimals, got "):
        pico_per_token(Decimal(price))


def test_price_with_more_digits_than_decimals_compute_with_is_refused_too() -> None:
    with pytest.raises(ValueError, match=r"^a price has at most six decimals, got "):
        pico_per_token(Decimal("1.0000000000000000000000000001"))


@given(st.integers(min_value=0, max_value=10**15))
def test_every_price_of_six_decimals_is_exact(pico: int) -> None:
    assert pico_per_token(Decimal(pico).scaleb(-6)) == pico


def test_total_of_known_costs_is_their_sum() -> None:
    assert total_of([1, 2, 3]) == 6
    assert total_of([0]) == 0
    assert total_of([]) == 0


@pytest.mark.parametrize("costs", [[None], [None, None], [0, None], [None, 5], [1, None, 2]])
def test_total_with_an_unknown_part_is_unknown_and_never_zero(costs: list[int | None]) -> None:
    assert total_of(costs) is None


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "0.0"),
        (1, "0.000000000001"),
        (123_000_000, "0.000123"),
        (PICO_PER_USD - 1, "0.999999999999"),
        (PICO_PER_USD, "1.0"),
        (PICO_PER_USD + 500_000_000_000, "1.5"),
        (10 * PICO_PER_USD, "10.0"),
        (-1, "-0.000000000001"),
        (-PICO_PER_USD, "-1.0"),
    ],
)
def test_dollars_are_written_plainly(pico: int, text: str) -> None:
    assert usd(pico) == text


@given(PICO)
def test_dollars_come_back_exactly(pico: int) -> None:
    with localcontext(prec=60):
        assert Decimal(usd(pico)) * PICO_PER_USD == pico


@pytest.mark.parametrize(
    ("output", "tokens", "place", "mine"),
    [
        (20, [12, 8], 0, 12),
        (20, [12, 8], 1, 8),
        (40, [12, 8], 1, 16),  # the server counts what it does not show
        (41, [12, 8], 1, 17),
        (20, [0, 0, 0], 2, 7),  # it shows nothing
        (0, [0, 0], 0, 0),
    ],
)
def test_one_of_several_drafts_has_its_part_of_the_bill(
    output: int, tokens: list[int], place: int, mine: int
) -> None:
    usage = Usage(input=100, output=output, cached_input=40, reasoning=output // 2)
    one, others = part_of(usage, tokens, place)
    assert (one.input, one.cached_input, one.output) == (100, 40, mine)
    assert (others.input, others.cached_input, others.output) == (0, 0, output - mine)
    assert one.reasoning + others.reasoning == usage.reasoning
    paid = [cost_of(each, PRICE) or 0 for each in (one, others)]
    assert sum(paid) == cost_of(usage, PRICE)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.integers(0, 99), min_size=1))
def test_parts_of_a_bill_are_never_negative(output: int, reasoning: int, tokens: list[int]) -> None:
    usage = Usage(0, output, 0, min(output, reasoning))
    for place in range(len(tokens)):
        one, others = part_of(usage, tokens, place)  # it would refuse to be built
        assert one.output + others.output == output


@given(COUNTS, COUNTS, COUNTS)
def test_shares_of_a_cost_are_the_cost(cost: int, part: int, others: int) -> None:
    mine = share_of(cost, part, others)
    assert 0 <= mine <= cost
    assert part == 0 or others == 0 or mine * (part + others) >= cost * part
    assert mine == cost or others


def test_a_share_is_rounded_up() -> None:
    assert share_of(10, 1, 2) == 4
    assert share_of(10, 0, 3) == 0
    assert share_of(10, 0, 0) == 10


@given(usages(), usages())
def test_what_is_left_of_a_whole_is_the_other_part(one: Usage, other: Usage) -> None:
    for is_exact in (True, False):
        assert less(together(one, other), one, is_exact=is_exact) == other


def test_a_whole_that_is_less_than_its_part_is_unknown_or_nothing() -> None:
    before = Usage(input=100, output=10)
    for whole in (Usage(99, 10), Usage(100, 9)):
        assert less(whole, before, is_exact=True) is None
        assert less(whole, before, is_exact=False) == Usage(0, 0)


def test_what_was_cached_may_be_told_in_the_end_alone() -> None:
    """vLLM's running usage has no details: by then all was taken to be fresh."""
    before, whole = Usage(100, 8), Usage(100, 20, cached_input=96, reasoning=15)
    assert less(whole, before, is_exact=True) == Usage(0, 12, cached_input=0, reasoning=12)


# --- what a call is expected to cost ---


@given(usages(), PRICES)
def test_what_is_expected_costs_what_it_then_does(usage: Usage, price: Price) -> None:
    plain = Usage(usage.input, usage.output, usage.cached_input)
    expected = expected_cost(usage.input, usage.cached_input, usage.output, price)
    assert expected == cost_of(plain, price)


@given(COUNTS, COUNTS, COUNTS, st.integers(min_value=0, max_value=10**6))
def test_a_warm_token_saves_the_difference_of_two_prices(
    read: int, warm: int, written: int, discount: int
) -> None:
    price = Price(discount + 7, 7, 60_000, 60_000)
    warm = min(warm, read)
    cold = known(expected_cost(read, 0, written, price))
    assert cold - known(expected_cost(read, warm, written, price)) == warm * discount


def test_nobody_expects_a_cost_without_a_price_or_more_warm_tokens_than_there_are() -> None:
    assert expected_cost(10, 5, 1, None) is None
    with pytest.raises(ValueError, match="do not add up"):
        expected_cost(10, 11, 1, PRICE)
