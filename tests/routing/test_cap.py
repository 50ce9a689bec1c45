from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.cap import BURST, FILL, HOUR, LASTS_SECONDS, CapBucket

CAP = 3_600_000


def full(share: float | None = 1.0, now: float = 0.0) -> CapBucket:
    """A bucket that has been filling for long."""
    bucket = CapBucket(CAP)
    bucket.agree(CAP, share, now - HOUR)
    for ago in range(int(HOUR), -1, -60):
        bucket.agree(CAP, share, now - ago)
    return bucket


def test_who_has_no_share_spends_nothing() -> None:
    assert not CapBucket(CAP).may_spend(0, now=1.0)
    for share in (None, 0.0):
        assert not full(share).may_spend(1, now=1.0)


def test_a_bucket_begins_empty_and_fills_steadily() -> None:
    bucket = CapBucket(CAP)
    bucket.agree(CAP, 0.5, now=0.0)
    assert not bucket.may_spend(1, now=0.0)
    come = FILL * 0.5 * CAP / HOUR * 10
    assert not bucket.may_spend(int(come) + 1, now=10.0)
    assert bucket.may_spend(int(come) - 1, now=10.0)
    assert not bucket.may_spend(2, now=10.0)


def test_a_bucket_holds_little() -> None:
    bucket = full()
    assert bucket.level == pytest.approx(BURST * CAP)
    assert not bucket.may_spend(int(BURST * CAP) + 1, now=0.0)
    assert bucket.may_spend(int(BURST * CAP) - 1, now=0.0)


def test_what_is_estimated_to_cost_nothing_needs_something_in_the_bucket() -> None:
    bucket = full()
    assert bucket.may_spend(0, now=0.0)
    bucket.spent(CAP, 0, now=0.0)
    assert not bucket.may_spend(0, now=0.0)


def test_what_was_not_spent_comes_back_and_no_more_than_fits() -> None:
    bucket = full()
    assert bucket.may_spend(1000, now=0.0)
    bucket.spent(0, 1000, now=0.0)
    assert bucket.level == pytest.approx(BURST * CAP)


def test_an_overshoot_is_paid_back_before_anything_is_granted() -> None:
    bucket = full()
    assert bucket.may_spend(1000, now=0.0)
    bucket.spent(1000 + int(BURST * CAP), 1000, now=0.0)
    assert bucket.level < 0
    assert not bucket.may_spend(1, now=1.0)
    assert bucket.may_spend(1, now=3.0)


def test_a_larger_share_fills_faster_and_gives_nothing_at_once() -> None:
    bucket = full(0.25)
    level = bucket.level
    bucket.agree(CAP, 0.5, now=0.0)
    assert bucket.level == level
    assert not bucket.may_spend(int(level) + 200, now=0.0)
    assert bucket.may_spend(int(level) + 200, now=1.0)


def test_a_smaller_share_takes_away_at_once() -> None:
    bucket = full(0.5)
    bucket.agree(CAP, 0.25, now=0.0)
    assert bucket.level == pytest.approx(0.25 * BURST * CAP)


def test_a_share_that_nobody_confirms_is_given_up() -> None:
    bucket = full()
    assert bucket.may_spend(1, now=LASTS_SECONDS - 0.1)
    assert not bucket.may_spend(1, now=LASTS_SECONDS)
    bucket.agree(CAP, 1.0, now=10 * LASTS_SECONDS)
    assert bucket.may_spend(1, now=10 * LASTS_SECONDS)


def test_nothing_comes_in_while_no_share_is_agreed_on() -> None:
    bucket = CapBucket(CAP)
    bucket.agree(CAP, 1.0, now=0.0)
    bucket.spent(CAP, 0, now=0.0)
    bucket.agree(CAP, 1.0, now=HOUR)
    assert bucket.level == pytest.approx(-CAP + FILL * CAP / HOUR * LASTS_SECONDS)


def test_a_clock_that_is_set_back_fills_nothing_twice() -> None:
    bucket = full()
    bucket.spent(int(BURST * CAP), 0, now=10.0)
    level = bucket.level
    bucket.spent(0, 0, now=5.0)
    bucket.spent(0, 0, now=10.0)
    assert bucket.level == level
    assert level < inf


asked = st.tuples(
    st.floats(0.1, 200.0),  # seconds since the one before
    st.integers(0, CAP // 30),  # its estimate
    st.floats(0.0, 1.0),  # what it costs, as a part of the estimate
)


@given(st.lists(asked, max_size=80), st.floats(0.01, 1.0))
def test_no_hour_spends_more_than_the_share_while_estimates_are_not_exceeded(
    requests: list[tuple[float, int, float]], share: float
) -> None:
    bucket, now = full(share), 0.0
    spent: list[tuple[float, float]] = []
    for seconds, estimate, part in requests:
        now += seconds
        bucket.agree(CAP, share, now)
        if bucket.may_spend(estimate, now):
            actual = int(part * estimate)
            bucket.spent(actual, estimate, now)
            spent.append((now, actual))
    for begins, _ in spent:
        within = sum(actual for at, actual in spent if begins <= at < begins + HOUR)
        assert within <= (FILL + BURST) * CAP * share + 1
