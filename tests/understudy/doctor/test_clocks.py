import pytest

from understudy.doctor.clocks import Drift, clock_finding, drift_by_date, drift_by_time
from understudy.doctor.findings import State

NOON = 1_800_000_000.0
HEADER = "Fri, 15 Jan 2027 08:00:00 GMT"


def test_a_date_says_no_more_than_two_seconds() -> None:
    drift = drift_by_date(HEADER, NOON, NOON + 0.5)
    assert drift == Drift(-0.5, 2.0)
    assert drift.words() == "0.8 s ahead of this machine's, give or take 1.2 s"


def test_a_time_is_as_exact_as_the_way_there_and_back() -> None:
    assert drift_by_time(NOON - 7, NOON, NOON + 0.5) == Drift(-7.5, -7.0)


@pytest.mark.parametrize(
    ("drift", "is_off"),
    [
        (Drift(-1, 1), False),
        (Drift(5, 7), False),  # it may be no more than may be
        (Drift(5.1, 7.1), True),
        (Drift(-7, -5), False),
        (Drift(-7.1, -5.1), True),
    ],
)
def test_only_what_is_certain_is_told(drift: Drift, *, is_off: bool) -> None:
    assert drift.is_off is is_off
    finding = clock_finding(drift, "set it")
    assert (finding.state, finding.advice) == ((State.HINT, "set it") if is_off else (State.OK, ""))


@pytest.mark.parametrize("header", [None, "yesterday", ""])
def test_a_server_that_tells_no_date_is_not_blamed(header: str | None) -> None:
    drift = drift_by_date(header, NOON, NOON)
    assert drift is None
    assert clock_finding(drift, "set it").state is State.SKIPPED
