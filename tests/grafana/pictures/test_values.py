import pytest

from grafana.pictures.values import written


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "currencyUSD", "$0"),
        (1234.5, "currencyUSD", "$1,234"),
        (12.345, "currencyUSD", "$12.3"),
        (0.000219, "currencyUSD", "$0.000219"),
        (-0.5, "currencyUSD", "-$0.5"),
        (0.597, "percentunit", "59.7%"),
        (1, "percentunit", "100%"),
        (0.00021, "s", "210 µs"),
        (0.0182, "s", "18.2 ms"),
        (0, "s", "0 s"),
        (75, "s", "1.25 min"),
        (86400 * 31, "s", "31 days"),
        (0, "bytes", "0 B"),
        (300 * 1024, "bytes", "300 KiB"),
        (1500, "short", "1.5K"),
        (0, "short", "0"),
        (12, "reqps", "12 req/s"),
        (0.1, "cps", "0.1/s"),
    ],
)
def test_a_value_is_short_and_has_its_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


def test_digits_after_the_point_can_be_told() -> None:
    assert written(3.14159, "short", 2) == "3.14"
    assert written(7.6, "short", 0) == "8"


def test_a_unit_that_no_dashboard_has_is_refused() -> None:
    with pytest.raises(ValueError, match="furlongs"):
        written(1, "furlongs")
