from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from evaluation.errors import EvaluationError
from evaluation.scenarios import scenario as told
from evaluation.scenarios.controllers import Steering
from evaluation.scenarios.engine import LEASE_SECONDS, STARTED_AT, play
from evaluation.scenarios.population import population_of
from routing.steering import KEEP_NOTHING, Grade, Report, Standing
from tests.evaluation.scenarios.made_up import played, scenario

STANDING = Standing(1, 1, 0.9, audit=0.5)


@dataclass(frozen=True, slots=True)
class Listening:
    """A controller that hears everything, and does what it is told at some second."""

    heard: list[tuple[float, Report]] = field(default_factory=list)
    standing: Standing = STANDING
    then: Mapping[int, Standing] = field(default_factory=dict)

    def advance(self, reports: Sequence[Report], now: float) -> "Listening":
        self.heard.extend((now - STARTED_AT, each) for each in reports)
        standing = self.then.get(round(now - STARTED_AT), self.standing)
        return replace(self, standing=standing)

    def document(self) -> Mapping[str, object]:
        return {}

    def shown(self) -> Mapping[str, object]:
        alarms = [{"at": STARTED_AT + 10}] if self.standing.epoch > 1 else []
        return {"heard": len(self.heard), "alarms": alarms}

    def grades(self) -> list[tuple[float, Grade]]:
        return [(at, grade) for at, report in self.heard for grade in report.grades]


def steered(listening: Listening) -> Steering:
    return Steering(listening, lambda document: listening)


def listened(of: told.Scenario, standing: Standing = STANDING) -> Listening:
    listening = Listening(standing=standing)
    run = play(of, population_of(of), 3, steered(listening))
    assert run.shown["heard"] == len(listening.heard)
    return listening


def test_the_same_seed_plays_the_same() -> None:
    of = scenario(replicas=2)
    runs = [played(of, seed)["spent_pico"].tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_reports_come_a_second_later_and_add_up_to_what_was_served() -> None:
    of = scenario(replicas=3, seconds=120)
    listening = Listening()
    run = play(of, population_of(of), 0, steered(listening))
    assert all(at == report.at - STARTED_AT + 1 for at, report in listening.heard)
    heard = [report for _, report in listening.heard]
    assert [each.sequence for each in heard if each.replica == "gateway-1.1"] == list(range(1, 120))
    whole = slice(0, 119)
    for name, sums in (
        ("judged", sum(each.judged for each in heard)),
        ("escalated", sum(each.escalated for each in heard)),
        ("spent_pico", sum(each.spent_pico for each in heard)),
        ("audited_pico", sum(each.audited_pico for each in heard)),
    ):
        assert run[name][whole].sum() == sums > 0


def test_grades_say_what_was_known_of_each_draft_and_come_with_its_answer() -> None:
    grades = [grade for _, grade in listened(scenario(seconds=300)).grades()]
    kept = [grade for grade in grades if grade.is_kept]
    assert {(each.propensity, each.least, each.epoch) for each in kept} == {(0.5, 0.5, 1)}
    deferred = [grade for grade in grades if not grade.is_kept]
    assert {(each.propensity, each.least) for each in deferred} == {(1.0, 0.5)}
    assert min(each.merit for each in kept) >= 0.9 > max(each.merit for each in deferred)
    right = [each.loss for each in kept]
    assert sum(right) / len(right) < 0.12 < sum(each.loss for each in deferred) / len(deferred)
    slow = told.Teacher(seconds=30.0, concurrent=10_000)
    first, _ = listened(scenario(seconds=60, teacher=slow)).grades()[0]
    assert first == 32.0


def test_what_stands_is_followed_a_second_later() -> None:
    then = {10: Standing(2, 2, KEEP_NOTHING, line="all")}
    of = scenario(seconds=20, per_second=50.0)
    run = play(of, population_of(of), 0, steered(Listening(then=then)))
    assert run["kept"][:10].all()
    assert not run["kept"][10:].any()
    assert [(each.second, each.epoch) for each in run.alarms] == [(10, 2)]
    assert run.lines == [(10, "all"), (20, "all")]
    assert run["threshold"][-1] == 1.0


def test_no_grade_is_made_where_nothing_is_learnt_of_kept_drafts() -> None:
    assert listened(scenario(seconds=30), standing=Standing(1, 1, 0.9, audit=0.0)).grades() == []


def test_a_killed_replica_takes_along_what_it_had_not_told() -> None:
    killed = told.ReplicaKilled(at=30, replica=1, seconds=20)
    of = scenario(seconds=80, replicas=2, per_second=40.0, events=(killed,))
    heard = [(at, report) for at, report in listened(of).heard if report.replica[8] == "1"]
    assert max(at for at, each in heard if each.replica == "gateway-1.1") == 31.0
    assert min(at for at, each in heard if each.replica == "gateway-1.2") == 52.0
    run = played(of)
    assert run["served"][35:45].mean() == pytest.approx(40.0, rel=0.25)


def test_another_replica_takes_the_controller_over_once_the_lease_is_over() -> None:
    killed = told.ReplicaKilled(at=40, replica=0)
    of = scenario(seconds=80, replicas=2, events=(killed,))
    heard = {at for at, _ in listened(of).heard}
    assert heard == {*range(2, 41), *range(41 + LEASE_SECONDS, 81)}


def test_the_next_replica_goes_on_where_the_last_one_was() -> None:
    killed = told.ReplicaKilled(at=120, replica=0)
    run = played(scenario(told.EscalationRate(0.3), seconds=240, replicas=2, events=(killed,)))
    assert run["revision"][-1] > run["revision"][119] > 1
    assert run["escalated"][140:].sum() / run["served"][140:].sum() == pytest.approx(0.3, abs=0.1)


def test_reports_wait_while_the_store_is_gone_and_the_oldest_are_lost() -> None:
    gone = told.StoreGone(at=100, seconds=700)
    of = scenario(seconds=900, per_second=1.0, events=(gone,))
    at = {report.sequence: at for at, report in listened(of).heard}
    assert at[100] == 801.0  # told in time, and nobody could read it
    assert not at.keys() & set(range(102, 201))
    assert at[202] == at[801] == 802.0


def test_all_replicas_dead_serve_nobody_and_steer_nothing() -> None:
    killed = tuple(told.ReplicaKilled(at=10, replica=each, seconds=10) for each in (0, 1))
    run = played(scenario(seconds=40, replicas=2, per_second=20.0, events=killed))
    assert run["served"][:10].all()
    assert not run["served"][10:20].any()
    assert run["served"][20:].all()


def test_a_replica_that_is_not_there_cannot_be_killed() -> None:
    with pytest.raises(EvaluationError, match="replica 4 is killed, and there are 1"):
        played(scenario(events=(told.ReplicaKilled(at=1, replica=4),)))


def test_an_outage_opens_the_breaker_and_serves_drafts_degraded() -> None:
    outage = told.TeacherOutage(at=60, seconds=60)
    of = scenario(seconds=240, per_second=20.0, events=(outage,))
    run = played(of)
    during = slice(60, 120)
    assert not run["escalated"][during].any()
    assert run["failed"][60] == 5.0
    # A probe every REST_SECONDS finds it still gone.
    assert run["failed"][61:120].sum() == 11.0
    assert run["denied"][61:120].min() > 0
    assert not run["denied"][130:].any()
    assert not run["audits"][during].any()
    lost = [grade for at, grade in listened(of).grades() if grade.loss == 1.0 and 61.5 < at < 63.5]
    assert len(lost) >= 5


def test_a_slow_teacher_makes_a_queue_and_late_labels() -> None:
    slow = told.TeacherSlowdown(at=60, seconds=60, times=20.0)
    run = played(
        scenario(seconds=300, per_second=10.0, teacher=told.Teacher(4.0, 50), events=(slow,))
    )
    assert run["waiting"][:60].max() == 0.0
    assert run["latency_seconds"][119] > 80.0
    assert run["waiting"][-1] == 0.0
    assert not run["audits"][80:120].any()


def test_events_change_the_truth() -> None:
    kinds = {"easy": told.Kind(1.0, 0.1, 0.8), "hard": told.Kind(0.0, 0.6, 0.8)}
    events = (
        told.TopicDrift(20, {"hard": 0.8}),
        told.ComparatorNoise(40, 0.1, 0.0),
        told.StudentRegression(60, 10.0, among_kept=False),
    )
    run = played(scenario(kinds=kinds, seconds=80, events=events))
    steps = [run["disagreement"][each] for each in (10, 30, 50, 70)]
    assert steps == sorted(set(steps))
    assert run.regressions == [60]
    assert run["unseen"][50] == run["unseen"][30] < run["disagreement"][50]


def test_a_regression_among_kept_drafts_leaves_the_others() -> None:
    of = scenario(seconds=40, events=(told.StudentRegression(20, 10.0, among_kept=True),))
    run = played(of)
    assert run["disagreement"][30] == pytest.approx(run["disagreement"][10] + 0.1)


def test_a_hard_cap_holds_whatever_the_threshold_says() -> None:
    spend = told.Spend(usd_per_hour=4.0, cap_usd_per_hour=6.0)
    rare = {"hard": told.Kind(1.0, 0.6, 0.7)}
    run = played(scenario(spend, kinds=rare, seconds=600, per_second=10.0, replicas=2))
    assert run["spent_pico"].sum() < 6e12 * (0.9 / 6 + 0.05)
    assert run["denied"].sum() > 0


def test_turns_of_conversations_are_told_and_stay_with_the_teacher() -> None:
    talks = told.Conversations(turns=5.0, alike=1.0, sticky_turns=2)
    listening = listened(scenario(seconds=200, conversations=talks))
    turns = [turns for _, report in listening.heard for turns in report.turns.items()]
    assert sum(count for _, count in turns) == sum(each.judged for _, each in listening.heard)
    assert sum(report.forced for _, report in listening.heard) > 100
    assert all(grade.conversation is not None for _, grade in listening.grades())
    names = {name for name, _ in turns}
    assert 1.5 < sum(count for _, count in turns) / len(names) < 5.0


def test_a_promise_is_earned_kept_and_ended_by_a_regression() -> None:
    worse = told.StudentRegression(1500, 40.0, among_kept=True)
    of = scenario(
        told.Quality(0.1, 0.9),
        kinds={"good": told.Kind(1.0, 0.1, 0.9)},
        seconds=1800,
        per_second=10.0,
        audit_share=0.1,
        events=(worse,),
    )
    run = played(of, 1)
    first = int(run["kept"].nonzero()[0][0])
    assert 20 < first < 400
    assert not run.is_above(0.1)[:1500].any()
    assert run["kept_truly"][1499] > 0.5 * run["oracle_kept"][1499]
    (alarm,) = run.alarms
    assert 1500 < alarm.second < 1700
    assert not run["kept"][alarm.second :].any()
    assert "escalate all" in run.lines[-1][1]


def test_labelled_records_shorten_the_way_to_the_first_kept_draft() -> None:
    promise = told.Quality(0.1, 0.9)
    kinds = {"good": told.Kind(1.0, 0.1, 0.9)}
    cold, warm = (
        played(scenario(promise, kinds=kinds, seconds=300, per_second=10.0, head_start=records))
        for records in (0, 2000)
    )
    assert warm["kept"][:10].any()
    assert not cold["kept"][:20].any()
    assert warm.shown["epoch"] == 1
