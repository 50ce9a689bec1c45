"""What controllers say of themselves, as metrics have it."""

from dataclasses import replace

import structlog

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.steering_news import SteeringNews
from routing.money import PICO_PER_USD
from routing.pacing import new_pacer
from routing.pacing_goal import RateGoal, SpendGoal
from routing.promise import Promise, new_promise
from routing.promise.state import MOST_ALARMS
from routing.steering import Controller
from routing.vocabulary import Threshold
from tests.routing.promise.street import TERMS

PREFIX = "understudy_objective_"
CAPPED = SpendGoal(12 * PICO_PER_USD, 15 * PICO_PER_USD, audit=0.0)


def paced(goal: RateGoal | SpendGoal) -> Controller:
    return new_pacer(goal, "student-1", Threshold(0.5))


def told(*controllers: Controller) -> set[str]:
    """The lines of targets, caps and states once these have steered, one after the other."""
    metrics = Metrics(version="1.2.3", calibrated={"a": True})
    news = SteeringNews(structlog.get_logger(), metrics)
    for each in controllers:
        news.controller_shown("a", each.shown())
    names = tuple(f"{PREFIX}{name}{{" for name in ("target", "cap_usd", "state"))
    lines = metrics.exposition().decode().splitlines()
    return {line.removeprefix(PREFIX) for line in lines if line.startswith(names)}


def test_a_target_is_told_by_its_kind() -> None:
    assert told(new_promise(TERMS)) == {
        'target{cascade="a",kind="quality"} 0.1',
        'state{cascade="a",state="gathering"} 1.0',
    }
    assert told(paced(RateGoal(0.15, audit=0.0))) == {
        'target{cascade="a",kind="escalation_rate"} 0.15',
        'state{cascade="a",state="steering"} 1.0',
    }
    assert told(paced(CAPPED)) == {
        'target{cascade="a",kind="spend"} 12.0',
        'cap_usd{cascade="a"} 15.0',
        'state{cascade="a",state="steering"} 1.0',
    }


def test_another_objective_leaves_nothing_of_the_one_before() -> None:
    rate = paced(RateGoal(0.15, audit=0.0))
    assert told(new_promise(TERMS), paced(CAPPED), rate) == told(rate)


def test_alarms_are_counted_beyond_those_that_are_known_one_by_one() -> None:
    metrics = Metrics(version="1.2.3", calibrated={"a": True})
    promise = Promise(replace(new_promise(TERMS).state, alarm_count=MOST_ALARMS + 1))
    SteeringNews(structlog.get_logger(), metrics).controller_shown("a", promise.shown())
    assert 'understudy_objective_alarms{cascade="a"} 21.0' in metrics.exposition().decode()
