from decimal import Decimal

import pytest

from tests.prometheus.books import key
from tests.prometheus.counters import miscounted
from tests.prometheus.expecting import differences, of_one, quantile, ratio
from tests.prometheus.server import NO_LABELS, labels_of

HUNDRED = {NO_LABELS: Decimal(100)}


@pytest.mark.parametrize("shown", ["101.001", "98.999", "-100", "0", "Infinity"])
def test_number_that_is_off_by_more_than_a_hundredth_is_told(shown: str) -> None:
    assert differences({NO_LABELS: Decimal(shown)}, HUNDRED)


@pytest.mark.parametrize("shown", ["100", "101", "99"])
def test_number_that_is_off_by_less_is_right(shown: str) -> None:
    assert not differences({NO_LABELS: Decimal(shown)}, HUNDRED)


def test_series_that_is_missing_and_one_too_many_are_told() -> None:
    found = {labels_of(cascade="b"): Decimal(1)}
    missing, too_many = differences(found, {labels_of(cascade="a"): Decimal(1)})
    assert "nothing" in missing
    assert "it was 0" in too_many


def test_series_of_zero_or_no_number_may_be_missing() -> None:
    empty = {labels_of(cascade="a"): Decimal("NaN"), labels_of(cascade="b"): Decimal(0)}
    assert not differences(empty, {labels_of(cascade="c"): Decimal(0)})


def test_dollars_have_no_tolerance_where_they_are_counted() -> None:
    which = key("understudy_cost_usd_total", cascade="assistant", role="student", kind="served")
    due = {which: Decimal("0.000000000002")}
    assert not list(miscounted({which: Decimal("2e-12")}, due))
    assert list(miscounted({which: Decimal("3e-12")}, due))
    assert list(miscounted({}, due))


def test_quantile_lies_between_the_bounds_of_its_bucket() -> None:
    buckets = {
        labels_of(le="0.1"): Decimal(10),
        labels_of(le="0.2"): Decimal(20),
        labels_of(le="+Inf"): Decimal(21),
    }
    assert quantile(0.5, buckets) == {NO_LABELS: Decimal("0.105")}
    assert quantile(0.99, buckets) == {NO_LABELS: Decimal("0.2")}  # beyond, nobody knows
    assert quantile(0.5, dict.fromkeys(buckets, Decimal(0))) == {}


def test_nothing_is_a_share_of_nothing() -> None:
    nothing = {NO_LABELS: Decimal(0)}
    assert ratio(nothing, nothing) == {}
    assert of_one({labels_of(kind="served"): Decimal(0)}, nothing) == {}
