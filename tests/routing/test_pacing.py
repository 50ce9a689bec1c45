import json
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from routing.errors import PolicyError
from routing.money import PICO_PER_USD
from routing.pacing import (
    LEAST_DRAFTS,
    RENEW_SECONDS,
    Pacer,
    new_pacer,
    pacer_from_document,
)
from routing.pacing_goal import Goal, RateGoal, SpendGoal
from routing.steering import KEEP_NOTHING, Controller, Report, Sample, Standing
from routing.vocabulary import Threshold

START = Threshold(0.8)
BEGINNING = 1_800_000_000
TWELVE = SpendGoal(12 * PICO_PER_USD, 15 * PICO_PER_USD, audit=0.02)
SEVENTH = RateGoal(0.15)
# What a tenth of five thousand drafts a second would cost.
HOURLY = 500 * 0.0033 * 3600
MILLI = PICO_PER_USD // 1000


class Street:
    """One replica's traffic: drafts with even merits, escalations that cost what is expected."""

    def __init__(self, pacer: Pacer, judged: int = 20, cost: int | None = 2 * MILLI) -> None:
        self.pacer, self.judged, self.cost, self.forced = pacer, judged, cost, 0
        self.is_teacher_away = False
        self.generator = random.Random(1)
        self.second = 0
        self.requests = self.escalated = self.spent = 0

    def runs(self, seconds: int) -> Pacer:
        for _ in range(seconds):
            self.second += 1
            samples = [self._draft() for _ in range(self.judged)]
            deferred = [each for each in samples if self._is_deferred(each)]
            asks = len(deferred) + self.forced
            escalated = 0 if self.is_teacher_away else asks
            cost = 0 if self.is_teacher_away else sum(map(self._paid, deferred))
            cost += min(escalated, self.forced) * (2 * MILLI)
            report = Report(
                "a", self.second, float(BEGINNING + self.second), 1.0,
                judged=self.judged, forced=self.forced, escalated=escalated,
                denied=asks - escalated, spent_pico=cost, escalated_pico=cost,
                samples=[self._told(each) for each in samples],
            )  # fmt: skip
            self.requests += self.judged + self.forced
            self.escalated, self.spent = self.escalated + escalated, self.spent + cost
            self.pacer = self.pacer.advance([report], report.at)
        return self.pacer

    def _draft(self) -> Sample:
        return Sample(self.generator.random(), self.cost)

    def _paid(self, draft: Sample) -> int:
        return 2 * MILLI

    def _told(self, draft: Sample) -> Sample:
        return draft

    def _is_deferred(self, draft: Sample) -> bool:
        return draft.merit < self.pacer.standing.least_merit(draft.cost_pico)


def test_a_pacer_is_a_controller() -> None:
    controller: Controller = new_pacer(TWELVE, "student-1", START)
    assert controller.advance([], 1.0).standing.threshold == 0.8


def test_the_threshold_it_starts_with_holds_until_enough_was_seen() -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START, revision=41), judged=1)
    assert street.pacer.standing.revision == 42
    pacer = street.runs(int(LEAST_DRAFTS) - 1)
    assert pacer.standing.threshold == 0.8
    assert pacer.standing.line.endswith("of 50 drafts seen to begin with")
    assert street.runs(5).standing.threshold < 0.3


@pytest.mark.simulated
@pytest.mark.parametrize("forced", [0, 2])
def test_a_rate_is_held_forced_requests_included(forced: int) -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START))
    street.forced = forced
    street.runs(300)
    requests, escalated = street.requests, street.escalated
    street.runs(600)
    share = (street.escalated - escalated) / (street.requests - requests)
    assert share == pytest.approx(0.15, rel=0.02)


@pytest.mark.simulated
@pytest.mark.parametrize("cost", [2 * MILLI, MILLI, None])
def test_a_spend_is_held_whatever_was_expected(cost: int | None) -> None:
    street = Street(new_pacer(TWELVE, "student-1", START), cost=cost)
    street.runs(300)
    spent = street.spent
    street.runs(600)
    assert (street.spent - spent) / PICO_PER_USD == pytest.approx(2.0, rel=0.02)


class WarmStreet(Street):
    """Drafts of a hundred conversations: one that the teacher has read costs it a third from then
    on, until another takes its place.

    ``is_told``: the controller hears of the costs that its threshold is applied to.
    """

    def __init__(self, *, is_told: bool = True) -> None:
        super().__init__(new_pacer(TWELVE, "student-1", START))
        self.is_told = is_told
        self.read: set[int] = set()
        self.turns: dict[Sample, int] = {}

    def _draft(self) -> Sample:
        conversation = self.generator.randrange(100)
        if self.generator.random() < 0.2:
            self.read.discard(conversation)
        cost = MILLI if conversation in self.read else 3 * MILLI
        draft = replace(super()._draft(), cost_pico=cost)
        self.turns[draft] = conversation
        return draft

    def _is_deferred(self, draft: Sample) -> bool:
        conversation = self.turns.pop(draft)
        if is_deferred := super()._is_deferred(draft):
            self.read.add(conversation)
        return is_deferred

    def _paid(self, draft: Sample) -> int:
        return draft.cost_pico or 0

    def _told(self, draft: Sample) -> Sample:
        return draft if self.is_told else replace(draft, cost_pico=3 * MILLI)


@pytest.mark.simulated
def test_what_is_warm_is_expected_to_cost_what_it_does() -> None:
    street = WarmStreet()
    street.runs(600)
    spent = street.spent
    pacer = street.runs(1200)
    assert (street.spent - spent) / PICO_PER_USD == pytest.approx(4.0, rel=0.02)
    assert pacer.demand.off == pytest.approx(1.0, abs=0.03)
    standing = pacer.standing
    assert standing.least_merit(MILLI) > standing.least_merit(3 * MILLI)


@pytest.mark.simulated
def test_costs_that_are_told_otherwise_than_they_decide_mislead_the_controller() -> None:
    assert abs(WarmStreet(is_told=False).runs(900).demand.off - 1.0) > 0.2


@pytest.mark.simulated
def test_five_times_the_traffic_moves_the_threshold_within_seconds() -> None:
    street = Street(new_pacer(TWELVE, "student-1", START))
    before = street.runs(300).standing.threshold
    street.judged = 100
    burst = street.runs(5).standing.threshold
    assert burst == pytest.approx(before / 5, rel=0.3)
    street.judged = 20
    assert street.runs(12).standing.threshold == pytest.approx(before, rel=0.3)


def test_where_traffic_is_too_little_all_that_gains_is_escalated_and_no_credit_piles_up() -> None:
    street = Street(new_pacer(TWELVE, "student-1", START), judged=1)
    pacer = street.runs(300)
    assert pacer.standing.threshold == pytest.approx(1.0)
    assert pacer.standing.line.endswith("the traffic is too little to take all of it")
    assert pacer.book.balance == pytest.approx(12 / 100)


def test_where_forced_requests_take_it_all_nothing_else_is_escalated() -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START))
    street.forced = 20
    pacer = street.runs(120)
    assert pacer.standing.threshold == 0.0
    assert pacer.shown()["missing"] == ["what no threshold can move already takes all of it"]
    spending = Street(new_pacer(TWELVE, "student-1", START))
    spending.forced = 20
    standing = spending.runs(120).standing
    assert standing.least_merit(2 * MILLI) == 0.0
    assert "keep from 0, " in standing.line


@pytest.mark.simulated
@pytest.mark.parametrize("goal", [TWELVE, SEVENTH])
def test_while_the_teacher_is_away_not_many_more_drafts_are_deferred(goal: Goal) -> None:
    """They would be served all the same, and marked, or refused."""
    street = Street(new_pacer(goal, "student-1", START))
    before = street.runs(300).standing.threshold
    street.is_teacher_away = True
    assert street.runs(900).standing.threshold < 1.5 * before
    street.is_teacher_away = False
    assert street.runs(300).standing.threshold == pytest.approx(before, rel=0.2)


def test_without_traffic_the_standing_stays() -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START))
    threshold = street.runs(100).standing.threshold
    street.judged = 0
    assert street.runs(200).standing.threshold == threshold


def test_where_nobody_knows_a_cost_the_standing_says_so() -> None:
    street = Street(new_pacer(TWELVE, "student-1", Threshold(0.0)), cost=None)
    pacer = street.runs(60)
    assert pacer.standing.threshold == 0.0
    assert pacer.shown()["missing"] == ["nobody knows yet what an escalation costs"]


def test_a_standing_that_is_near_enough_is_left_as_it_is() -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START))
    first = street.runs(300).standing
    revisions = {street.runs(1).standing.revision for _ in range(600)}
    assert len(revisions) <= 600 / RENEW_SECONDS + 10
    assert street.pacer.standing.revision >= first.revision + 600 // RENEW_SECONDS


def test_reports_that_come_twice_change_nothing() -> None:
    pacer = new_pacer(SEVENTH, "student-1", START)
    report = Report("a", 1, BEGINNING + 1.0, 1.0, judged=3, samples=[Sample(0.5)])
    once = pacer.advance([report], BEGINNING + 1.0)
    assert once.advance([report], BEGINNING + 1.0) == once


def test_who_reads_the_document_goes_on_where_it_was() -> None:
    for goal in (TWELVE, SEVENTH):
        street = Street(new_pacer(goal, "student-1", START))
        pacer = street.runs(200)
        written = json.loads(json.dumps(pacer.document(), allow_nan=False))
        assert pacer_from_document(written) == pacer
        street.pacer = pacer_from_document(written)
        assert street.runs(1).book.settled == BEGINNING + 199


def test_a_pacer_that_keeps_nothing_at_first_is_written_too() -> None:
    pacer = new_pacer(SpendGoal(PICO_PER_USD), "student-1", Threshold(KEEP_NOTHING))
    written = json.loads(json.dumps(pacer.document(), allow_nan=False))
    assert pacer_from_document(written) == pacer
    assert "keep nothing" in pacer.standing.line
    assert pacer.standing.cap_pico is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema_version": 0}, "schema_version"),
        ({"goal": {"kind": "escalation_rate", "at_most": 2.0, "audit": 0.0}}, "goal: at_most"),
        ({"goal": {"kind": "spend"}}, "goal: lacks"),
        ({"goal": "spend"}, "goal: must be an object"),
        ({"start": 1.5}, "start"),
        ({"start": "all"}, "start: must be a finite number"),
        ({"level": "high"}, "level"),
    ],
)
def test_a_document_that_is_none_is_refused_by_its_path(
    change: Mapping[str, object], named: str
) -> None:
    document = {**new_pacer(TWELVE, "student-1", START).document(), **change}
    with pytest.raises(PolicyError, match=named):
        pacer_from_document(document)
    with pytest.raises(PolicyError, match="schema_version"):
        pacer_from_document([])


def test_another_figure_keeps_what_was_learnt() -> None:
    street = Street(new_pacer(TWELVE, "student-1", START))
    before = street.runs(300)
    six = before.with_goal(SpendGoal(6 * PICO_PER_USD, 8 * PICO_PER_USD))
    assert six.demand == before.demand
    assert six.standing.revision == before.standing.revision + 1
    assert six.standing.cap_pico == 8 * PICO_PER_USD
    street.pacer = six
    after = street.runs(5).standing.threshold
    assert after == pytest.approx(before.standing.threshold / 2, rel=0.3)
    with pytest.raises(ValueError, match="SpendGoal cannot become a RateGoal"):
        before.with_goal(SEVENTH)


def test_a_hard_cap_is_shared_out_and_audits_are_asked_for() -> None:
    standing = Street(new_pacer(TWELVE, "student-1", START)).runs(60).standing
    assert standing.shares == {"a": 1.0}
    assert (standing.cap_pico, standing.audit) == (15 * PICO_PER_USD, 0.02)
    assert Street(new_pacer(SEVENTH, "student-1", START)).runs(60).standing.shares == {}


def lines(goal: Goal) -> str:
    return Street(new_pacer(goal, "student-1", START)).runs(300).standing.line


def test_a_line_says_which_rule_holds_and_by_which_numbers() -> None:
    spend, rate = lines(TWELVE), lines(SEVENTH)
    assert spend.startswith("spend: $12.00/h, last hour $0.")
    assert " at $0.002 an escalation, " in spend
    assert "of 1,200 escalated in the last minute" in spend
    assert rate.startswith("rate: at most 15.0%, last hour 1")
    assert "an escalation" not in rate


def test_a_line_counts_no_minute_that_nobody_saw() -> None:
    street = Street(new_pacer(SEVENTH, "student-1", START))
    untold = ["less than a minute seen yet", "0 of 50 drafts seen to begin with"]
    assert street.pacer.standing.line.split(", ")[3:] == untold
    assert street.runs(5).standing.line.split(", ")[3:] == untold[:1]
    street.runs(120)
    street.judged = 0
    assert "no requests in the last minute" in street.runs(180).standing.line


def test_what_is_shown_is_what_was_counted() -> None:
    street = Street(new_pacer(TWELVE, "student-1", START))
    shown = street.runs(120).shown()
    assert shown["last_hour"] == {
        "requests": 2400, "escalated": street.escalated, "usd": street.spent / PICO_PER_USD
    }  # fmt: skip
    assert shown["objective"] == {
        "kind": "spend",
        "pico_per_hour": 12 * PICO_PER_USD,
        "cap_pico_per_hour": 15 * PICO_PER_USD,
        "audit": 0.02,
    }
    assert (shown["missing"], shown["replicas"]) == ([], 1)
    assert json.dumps(shown, allow_nan=False)
    assert new_pacer(SEVENTH, "student-1", START).shown()["last_hour"] == {
        "requests": 0, "escalated": 0
    }  # fmt: skip


def escalated(drafts: list[tuple[float, float]], standing: Standing) -> tuple[float, float]:
    """What the drafts that are deferred cost in dollars, and the gain of all of them."""
    chosen = [
        (merit, usd)
        for merit, usd in drafts
        if merit < standing.least_merit(int(usd * PICO_PER_USD))
    ]
    return sum(usd for _, usd in chosen), sum(1.0 - merit for merit, _ in chosen)


def test_at_equal_spend_the_gain_per_dollar_gains_more_than_one_threshold() -> None:
    generator = random.Random(7)
    drafts = [
        (generator.betavariate(4, 1), 0.002 * generator.lognormvariate(0.0, 1.0))
        for _ in range(5000)
    ]
    samples = [Sample(merit, int(usd * PICO_PER_USD)) for merit, usd in drafts]
    pacer = new_pacer(SpendGoal(int(HOURLY * PICO_PER_USD)), "student-1", START)
    report = Report("a", 1, BEGINNING + 0.5, 1.0, judged=5000, samples=samples)
    standing = pacer.advance([report], BEGINNING + 1.0).advance([], BEGINNING + 2.5).standing
    spend, gain = escalated(drafts, standing)
    left, gain_of_one = spend, 0.0
    for merit, usd in sorted(drafts):  # by merit alone, until as much is spent
        left -= usd
        if left < 0.0:
            break
        gain_of_one += 1.0 - merit
    assert spend == pytest.approx(HOURLY / 3600, rel=0.05)
    assert gain > 1.3 * gain_of_one


def test_a_standing_of_a_spend_has_a_price() -> None:
    standing: Standing = Street(new_pacer(TWELVE, "student-1", START)).runs(60).standing
    assert standing.per_usd == pytest.approx(500.0)
    assert standing.least_merit(4 * MILLI) < standing.threshold < standing.least_merit(MILLI)
