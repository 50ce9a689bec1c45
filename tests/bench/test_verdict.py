"""Every target is held against what was measured, at its edge too."""

import pytest

from bench.side_by_side import HalfLoad, SideMeasurement, SideReport
from bench.stalls import StallLine, StallReport
from bench.streams import OpenStreams, StreamReport
from bench.token_costs import TokenCost, TokenReport
from bench.verdict import Verdict, of_sides, of_stalls, of_streams, of_tokens


def line(name: str, concurrency: int, cpu_us: float | None, median_ms: float) -> SideMeasurement:
    return SideMeasurement(name, concurrency, 100, cpu_us, cpu_us, 1.0, median_ms, 9.0, 1.0)


SIDES = SideReport(
    versions={},
    idle_mib={"keep": 90.0},
    measurements=[
        line("direct", 1, None, 0.05),
        line("direct", 32, None, 0.5),
        line("vllm-router", 32, 60.0, 1.0),
        line("LiteLLM", 32, 24_001.0, 800.0),
        line("keep", 1, 400.0, 0.3),
        line("keep", 32, 300.0, 9.0),
        line("escalate", 32, 661.0, 20.0),
    ],
    left_out=[],
    half=HalfLoad(1500.0, 3000, 0.5, 3.5, 0.1, 0.2),
)


def test_whole_replies_have_six_targets() -> None:
    found = list(of_sides(SIDES))
    assert [(round(each.value, 4), each.is_met) for each in found] == [
        (5.0, True),
        (0.0125, True),
        (2.2033, False),
        (0.25, True),
        (3.5, False),
        (90.0, True),
    ]


def test_what_was_not_measured_is_not_held_against_anything() -> None:
    nothing = SideReport({}, {}, [line("keep", 32, 300.0, 9.0)], [], None)
    assert list(of_sides(nothing)) == []


def test_tokens_are_held_against_the_relays() -> None:
    costs = [
        TokenCost("relay", 15.0, 14.0, 0.1),
        TokenCost("held back", 45.0, 40.0, 0.3),
        TokenCost("released", 31.0, 30.0, 0.2),
    ]
    held, released = of_tokens(TokenReport(32, 4, 64, 512, costs))
    assert (held.value, held.is_met) == (3.0, True)
    assert released.value == pytest.approx(31 / 15, abs=1e-5)
    assert not released.is_met


def test_an_open_stream_has_a_weight() -> None:
    (weight,) = of_streams(StreamReport(64, 8, [], OpenStreams(1000, 80.0, 120.0, 40.1)))
    assert weight == Verdict("memory of each of 1000 open streams", 40.1, 40.0, "KiB", is_met=False)
    assert list(of_streams(StreamReport(64, 8, [], None))) == []


def test_the_event_loop_may_never_be_late_by_more_than_20_ms() -> None:
    lag = StallLine("lag", 1000, {5: 9, 10: 4, 20: 1, 50: 0}, 50.0)
    computing = StallLine("computing", 1000, {5: 9, 10: 4, 20: 0, 50: 0}, 20.0)
    late, own = of_stalls(StallReport(20.0, 9000, {}, 0.4, 1000, 90, 20, 9.0, lag, computing))
    assert (late.value, late.is_met) == (1, False)
    assert (own.value, own.is_met) == (0, True)
