import numpy as np
import pytest

from evaluation.scenarios.measures import HOUR_SECONDS, measures_of, summary_of
from evaluation.scenarios.scenario import (
    EscalationRate,
    Objective,
    Quality,
    Scenario,
    Spend,
    StudentRegression,
    TopicDrift,
)
from evaluation.scenarios.timeline import Alarm, Timeline
from tests.evaluation.scenarios.made_up import scenario

HOURS = 4


def timeline(seconds: int = HOURS * HOUR_SECONDS, **columns: float) -> Timeline:
    """Ten requests a second, all of them kept, unless said."""
    run = Timeline(seconds)
    usual = {
        "served": 10.0,
        "kept": 10.0,
        "oracle_pico": 1e9,
        "oracle_kept": 1.0,
        "kept_truly": 1.0,
    }
    for name, value in (usual | columns).items():
        run[name][:] = value
    return run


def of(objective: Objective, seconds: int = HOURS * HOUR_SECONDS) -> Scenario:
    return scenario(objective, seconds=seconds)


PROMISE = Quality(0.05, 0.95)


def test_the_bill_and_what_is_kept_stand_beside_the_oracles() -> None:
    run = timeline(kept=6.0, oracle_kept=0.8, spent_pico=13e9)
    run["spent_pico"][-1440:] = 11e9
    found = measures_of(of(PROMISE), run)
    assert found["bill_over_oracle"] == pytest.approx(0.28)
    assert found["bill_over_oracle_now"] == pytest.approx(0.10)
    assert found["kept_over_oracle"] == pytest.approx(0.75)
    assert found["bill_per_1000_usd"] == pytest.approx(1.28)
    assert found["oracle_usd"] == pytest.approx(144.0)


def test_an_oracle_that_keeps_nothing_is_nobodys_measure() -> None:
    found = measures_of(of(PROMISE), timeline(kept=0.0, oracle_kept=0.0))
    assert found["kept_over_oracle"] is None
    assert found["first_kept_requests"] is None


def test_a_second_above_the_promise_is_a_violation_and_equality_is_none() -> None:
    run = timeline(disagreement=0.05)
    assert measures_of(of(PROMISE), run)["violated"] == 0.0
    run["disagreement"][77] = 0.051
    found = measures_of(of(PROMISE), run)
    assert (found["violated"], found["disagreement_most"]) == (1.0, 0.051)
    assert found["above_share"] == pytest.approx(1 / run.seconds)


def test_what_comes_after_a_change_is_no_violation_but_time_above_all_the_same() -> None:
    told = scenario(PROMISE, seconds=HOURS * HOUR_SECONDS, events=(TopicDrift(100, {"b": 1.0}),))
    run = timeline(disagreement=0.01)
    run["disagreement"][100:] = 0.2
    found = measures_of(told, run)
    assert found["violated"] == 0.0
    assert found["above_share"] == pytest.approx(1.0 - 100 / run.seconds)


def test_an_alarm_before_a_regression_is_false_and_the_first_after_it_detects() -> None:
    told = scenario(
        PROMISE, seconds=HOURS * HOUR_SECONDS, events=(StudentRegression(5000, 10.0, True),)
    )
    run = timeline()
    run.regressions.append(5000)
    assert measures_of(told, run)["detected"] == 0.0
    run.alarms.extend([Alarm(4000, 2), Alarm(5300, 3), Alarm(9000, 4)])
    found = measures_of(told, run)
    assert (found["alarms"], found["false_alarms"], found["detected"]) == (3.0, 1.0, 1.0)
    assert (found["detection_seconds"], found["detection_requests"]) == (300.0, 3000.0)
    assert measures_of(of(PROMISE), run)["false_alarms"] == 3.0


def test_any_hour_counts_for_a_spend_wherever_it_begins() -> None:
    each = 3.6e12 / HOUR_SECONDS  # $3.60 an hour
    run = timeline(spent_pico=each, teacher_alone_pico=2 * each)
    run["spent_pico"][9000:9600] = 2 * each
    found = measures_of(of(Spend(3.6, 4.0)), run)
    assert found["hour_most"] == pytest.approx(4.2)
    assert found["hour_over_target"] == pytest.approx(1 / 6)
    assert found["hour_over_cap"] == pytest.approx(0.05)
    assert found["hour_off_target"] == pytest.approx(1 / 6)


def test_hours_that_cannot_reach_their_target_are_not_off_it() -> None:
    each = 1e12 / HOUR_SECONDS
    run = timeline(spent_pico=0.5 * each, teacher_alone_pico=each)
    assert measures_of(of(Spend(1.0)), run)["hour_off_target"] is None
    run["teacher_alone_pico"][:] = 2 * each
    assert measures_of(of(Spend(1.0)), run)["hour_off_target"] == pytest.approx(0.5)


def test_a_rate_is_of_the_hours_requests() -> None:
    run = timeline(escalated=2.0)
    run["escalated"][:HOUR_SECONDS] = 4.0
    found = measures_of(of(EscalationRate(0.2)), run)
    assert found["hour_most"] == pytest.approx(0.4)
    assert found["hour_off_target"] == pytest.approx(0.0, abs=1e-9)


def test_less_than_an_hour_is_taken_for_one() -> None:
    run = timeline(seconds=600, spent_pico=1e12 / HOUR_SECONDS)
    assert measures_of(of(Spend(1.0), 600), run)["hour_most"] == pytest.approx(1.0)


def test_swings_are_the_ups_and_downs_of_what_is_kept() -> None:
    run = timeline()
    assert measures_of(of(EscalationRate(0.2)), run)["swings"] == 0.0
    run["kept_truly"][:] = np.arange(run.seconds) // 60 % 2 * 0.1
    assert measures_of(of(EscalationRate(0.2)), run)["swings"] == pytest.approx(6.0, rel=0.01)


def test_a_summary_is_over_the_runs_that_say_something() -> None:
    runs = [{"a": float(each), "b": None if each else 7.0} for each in range(10)]
    found = summary_of(runs)
    assert found["a"] == {
        "mean": 4.5, "p90": 9.0, "p95": 9.0, "least": 0.0, "most": 9.0, "runs": 10.0,
    }  # fmt: skip
    assert (found["b"]["mean"], found["b"]["runs"]) == (7.0, 1)
    assert summary_of([{"b": None}])["b"]["mean"] is None
