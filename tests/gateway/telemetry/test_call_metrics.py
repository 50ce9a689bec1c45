from collections.abc import Iterator

import pytest

from gateway.errors import UpstreamError, UpstreamRefused
from gateway.facts import ABORTED, Leg
from gateway.telemetry.call_metrics import FAILURES, CallMetrics
from gateway.telemetry.registry import Registry
from routing.vocabulary import Role


def kinds_of(error: type[UpstreamError]) -> Iterator[type[UpstreamError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_way_in_which_a_call_can_fail_begins_at_zero() -> None:
    registry = Registry()
    CallMetrics(registry, ["a"])
    codes = {kind.code for kind in kinds_of(UpstreamError)} | {UpstreamRefused.code, "cancelled"}
    assert codes == set(FAILURES)
    for role in Role:
        for code in codes:
            labels = {"cascade": "a", "role": role.value, "code": str(code)}
            assert registry.get_sample_value("understudy_upstream_errors_total", labels) == 0


@pytest.mark.parametrize(("error", "failures"), [(None, 0), (ABORTED, 0), ("upstream_busy", 1)])
def test_a_call_takes_time_and_may_fail(error: str | None, failures: int) -> None:
    registry = Registry()
    calls = CallMetrics(registry, ["a"])
    calls.made("a", Leg(Role.STUDENT, None, None, 0.3, error))
    labels = {"cascade": "a", "role": "student"}
    assert registry.get_sample_value("understudy_upstream_seconds_sum", labels) == 0.3
    failed = registry.get_sample_value(
        "understudy_upstream_errors_total", labels | {"code": "upstream_busy"}
    )
    assert failed == failures


def test_open_calls_are_asked_for_when_the_metrics_are_read() -> None:
    registry = Registry()
    calls = CallMetrics(registry, ["a"])
    is_open = [3]
    calls.watch("a", Role.TEACHER, lambda: is_open[-1], lambda: 2 * is_open[-1])
    labels = {"cascade": "a", "role": "teacher"}
    assert registry.get_sample_value("understudy_upstream_open_calls", labels) == 3
    assert registry.get_sample_value("understudy_upstream_max_calls", labels) == 6
    is_open.append(8)
    assert registry.get_sample_value("understudy_upstream_open_calls", labels) == 8
    assert registry.get_sample_value("understudy_upstream_max_calls", labels) == 16
