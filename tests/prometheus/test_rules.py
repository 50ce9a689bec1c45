import pytest

from tests.prometheus.rules import Rule, in_order


def rule(expr: str, name: str = "R") -> Rule:
    return Rule(name, expr, is_alert=True, severity="page")


@pytest.mark.parametrize(
    ("expr", "number"),
    [
        ("a / b > 14.4 * 0.005", "a / b "),
        ("a >= 10 and b == 0", "a  and b "),
        ('a{code!="x", le="5.0"} > 5', 'a{code!="x", le="5.0"} '),
        ("a > 0.02 * max by (x) (b)", "a > 0.02 * max by (x) (b)"),
        ("time() - a > 30 * 86400", "time() - a "),
        ("a > time() - 3600", "a > time() - 3600"),
        ("a offset 1h unless b", "a offset 1h unless b"),
    ],
)
def test_number_that_an_alert_looks_at_is_what_is_left_without_its_bars(
    expr: str, number: str
) -> None:
    assert rule(expr).unbarred == number


def test_recording_rules_come_after_those_that_they_read() -> None:
    first, second = rule("x", "level:a:sum"), rule("level:a:sum / y", "level:b:share")
    assert list(in_order([second, first])) == [[first], [second]]


def test_rules_that_read_each_other_are_found() -> None:
    with pytest.raises(AssertionError, match="each other"):
        list(in_order([rule("level:b:sum", "level:a:sum"), rule("level:a:sum", "level:b:sum")]))
