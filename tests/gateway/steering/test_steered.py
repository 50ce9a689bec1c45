"""What is in force in one process, and what it tells of the traffic."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.api.context import Served
from gateway.audits.purse import Purse
from gateway.steering import steered as module
from gateway.steering.aim import Aim
from gateway.steering.config import QualityConfig, RateConfig, SpendConfig, SteeredConfig
from gateway.steering.steered import Costs, Steered, World
from routing.conversation import Talk
from routing.money import PICO_PER_USD, Price, Usage
from routing.steering import KEEP_NOTHING, Grade, Sample, Standing
from routing.vocabulary import Confidence, Threshold
from tests.fakes.serving import cascade_document, load_gateway

RATE = RateConfig(kind="escalation_rate", at_most=0.25)
QUALITY = QualityConfig(kind="quality", disagreement_at_most=0.05, with_probability=0.95)
SPEND = SpendConfig(kind="spend", usd_per_hour=Decimal(12), cap_usd_per_hour=Decimal(20))
MICRO = PICO_PER_USD // 10**6
PRICE = Price(MICRO, MICRO, 2 * MICRO, 2 * MICRO)
CACHED = replace(PRICE, cached_input=MICRO // 10)
CAP = 20 * PICO_PER_USD


class Bench:
    """One steered cascade, whose time, dice and student are the test's."""

    def __init__(self, objective: SteeredConfig = RATE, price: Price | None = PRICE) -> None:
        self.now, self.die, self.subject, self.objective = 0.0, 0.0, "student-1", objective
        world = World("here", 1.0, lambda: self.now, lambda: self.die)
        self.steered = Steered(self.aim, Costs(price), Purse(), world)

    def aim(self) -> Aim:
        return Aim(self.objective, self.subject, Threshold(0.6), 0.02, 0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder: Path = tmp_path_factory.mktemp("served")
    gateway = load_gateway(folder, cascade_document("http://s", "http://t"))
    return gateway.context.served["assistant"]


def test_nothing_is_kept_before_a_promise_is_earned() -> None:
    standing = Bench(QUALITY).steered.standing
    assert (standing.threshold, standing.complete) == (KEEP_NOTHING, 1.0)


def test_rate_and_spend_begin_with_the_threshold_of_the_policy() -> None:
    assert Bench(RATE).steered.standing.threshold == 0.6
    assert Bench(SPEND).steered.standing == replace(
        Bench(RATE).steered.standing, cap_pico=CAP, line="spend: nothing is known yet"
    )


def test_a_standing_makes_one_policy_for_all_its_requests(served: Served) -> None:
    steered = Bench().steered
    steered.follow(Standing(1, 0, 0.7), "student-1")
    first, again = (steered.applied(served, None) for _ in range(2))
    assert first is again
    assert first.cascade.policy.threshold == Threshold(0.7)
    steered.follow(Standing(2, 0, KEEP_NOTHING), "student-1")
    assert not steered.applied(served, None).cascade.policy.threshold.admits(Confidence(1.0))


def test_a_rate_gives_way_to_a_pressed_teacher_in_steps(served: Served) -> None:
    steered = Bench().steered
    steered.follow(Standing(1, 0, 0.7), "student-1")
    found = []
    for steered.pressure in (0.0, 0.1, 0.5, 1.0):
        found.append(steered.applied(served, None).cascade.policy.threshold.value)
    assert found[0] == 0.7
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.0
    assert all(least * module.STEPS % 1 == 0 for least in found[1:])
    steered.follow(Standing(2, 0, KEEP_NOTHING), "student-1")
    assert steered.applied(served, None).cascade.policy.threshold.keeps_nothing


def test_a_promise_does_not_give_way(served: Served) -> None:
    steered = Bench(QUALITY).steered
    steered.follow(Standing(1, 0, 0.7), "student-1")
    steered.pressure = 1.0
    assert steered.applied(served, None).cascade.policy.threshold == Threshold(0.7)


def test_another_policy_of_the_student_is_taken_up_with_the_same_standing(served: Served) -> None:
    steered = Bench().steered
    steered.follow(Standing(1, 0, 0.7), "student-1")
    steered.applied(served, None)
    other = replace(served, cascade=replace(served.cascade, name="other"))
    assert steered.applied(other, None).cascade.name == "other"


def test_the_dearer_an_escalation_the_less_sure_a_draft_must_be(served: Served) -> None:
    steered = Bench().steered
    steered.follow(Standing(1, 0, 0.8, per_usd=1_500.0), "student-1")
    short, long = (
        steered.applied(served, steered.costs.expected(size)).cascade.policy.threshold.value
        for size in (60, 4_000)
    )
    assert long < 0.8 < short
    assert short * module.STEPS % 1 == 0


def test_the_policies_of_single_requests_are_bounded(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_POLICIES", 2)
    steered = Bench().steered
    for least in (0.1, 0.2, 0.3):
        steered.follow(Standing(1, 0, least), "student-1")
        assert steered.applied(served, None).cascade.policy.threshold.value == least
        assert len(steered._steps) <= 2


def test_another_student_begins_with_what_nobody_knows() -> None:
    bench = Bench(QUALITY)
    bench.steered.follow(Standing(5, 1, 0.4), "student-1")
    bench.steered.check()
    assert bench.steered.standing.threshold == 0.4
    bench.subject = "student-2"
    bench.steered.check()
    assert bench.steered.standing.threshold == KEEP_NOTHING


def test_a_report_tells_of_all_since_the_one_before() -> None:
    steered = Bench().steered
    steered.answered(Sample(0.3), "talk")
    steered.answered(Sample(0.9), "talk")
    steered.answered(Sample(0.5), "talk", is_mute=True)
    steered.answered(None, None)
    steered.ended(is_escalated=True, is_denied=False)
    steered.ended(is_escalated=False, is_denied=True)
    steered.paid(70, 50, 0)
    steered.audit_spent(7)
    grade = Grade(0.5, 1.0, 0.5, 0.5, 0, is_kept=True)
    steered.grade(grade)
    report = steered.report(3.0, 1.0)
    assert (report.replica, report.sequence, report.judged, report.forced) == ("here", 1, 3, 1)
    assert report.mute == 1
    assert (report.escalated, report.denied) == (1, 1)
    assert (report.spent_pico, report.escalated_pico, report.audited_pico) == (77, 50, 7)
    assert report.samples == [Sample(0.3), Sample(0.9), Sample(0.5)]
    assert report.grades == [grade]
    assert report.turns == {"talk": 2}
    empty = steered.report(4.0, 1.0)
    assert (empty.sequence, empty.judged, empty.spent_pico, empty.grades) == (2, 0, 0, [])
    assert empty.mute == 0


def test_a_report_has_bounds_and_samples_all_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SAMPLES", 2)
    monkeypatch.setattr(module, "MOST_GRADES", 3)
    bench = Bench()
    for number, die in ((1, 0.0), (2, 0.0), (3, 0.5), (4, 0.9)):
        bench.die = die
        bench.steered.answered(Sample(number / 10), None)
        bench.steered.grade(Grade(0.5, 1.0, 0.5, 0.5, 0, is_kept=True))
    report = bench.steered.report(1.0, 1.0)
    # The third took the place of int(.5 * 3), the fourth would have had that of int(.9 * 4).
    assert [sample.merit for sample in report.samples] == [0.1, 0.3]
    assert (report.judged, len(report.grades)) == (4, 3)


def test_without_a_cap_nothing_is_taken_for_the_teacher() -> None:
    steered = Bench(RATE).steered
    assert steered.spending(100) is None
    assert steered.cap_left is None


def test_a_cap_whose_part_nobody_said_is_spent_by_nobody() -> None:
    portion = Bench(SPEND).steered.spending(300)
    assert portion is not None
    assert not portion.take()


def test_a_part_of_a_cap_fills_over_time_and_is_taken_once_a_request() -> None:
    bench = Bench(SPEND)
    standing = Standing(1, 0, 0.5, cap_pico=CAP, shares={"here": 0.5})
    bench.steered.follow(standing, "student-1")
    bench.now = 60.0
    bench.steered.follow(standing, "student-1")
    left = bench.steered.cap_left
    assert left is not None
    assert left > 0
    portion = bench.steered.spending(400)
    assert portion is not None
    assert portion.take()
    assert portion.take()
    assert bench.steered.cap_left == left - 400
    # It took less: the rest comes back.
    bench.steered.paid(100, 100, portion.taken)
    assert bench.steered.cap_left == left - 100


def test_what_an_escalation_costs_is_learnt_from_those_before() -> None:
    costs = Costs(PRICE)
    before = costs.expected(4_000) or 0
    for _ in range(200):
        costs.learn(4_000, Usage(input=2_000, output=1_000), None)
    after = costs.expected(4_000) or 0
    assert before < after == pytest.approx((2_000 + 2 * 1_000) * PICO_PER_USD / 10**6, rel=0.02)


def test_what_a_teacher_has_read_costs_less_to_read_again() -> None:
    costs = Costs(CACHED)
    cold = costs.expected(4_000)
    assert cold is not None
    warm = costs.expected(4_000, Talk(student_read=999, teacher_read=600))
    assert warm == cold - 600 * (MICRO - MICRO // 10)
    all_of_it = costs.expected(4_000, Talk(teacher_read=1_000))
    assert all_of_it == costs.expected(4_000, Talk(teacher_read=5_000)) == cold - 900 * MICRO


def test_where_cached_tokens_have_no_price_of_their_own_nothing_is_cheaper() -> None:
    read = Talk(teacher_read=600)
    assert Costs(PRICE).expected(4_000, read) == Costs(PRICE).expected(4_000)
    assert Costs(None).expected(4_000, read) is None


@pytest.mark.parametrize(
    ("objective", "price", "needs"),
    [
        (QUALITY, None, True),
        (SPEND, CACHED, True),
        (SPEND, PRICE, False),
        (SPEND, None, False),
        (RATE, CACHED, False),
    ],
)
def test_turns_are_asked_about_where_something_rests_on_them(
    objective: SteeredConfig, price: Price | None, needs: bool
) -> None:
    bench = Bench(RATE, price)
    bench.objective = objective
    bench.steered.follow(Standing(1, 0, 0.7), "student-1")
    assert bench.steered.needs_turns is needs


def test_without_a_price_what_was_billed_says_what_an_escalation_costs() -> None:
    costs = Costs(None)
    assert costs.expected(100) is None
    costs.learn(100, None, 500)
    assert costs.expected(7) == 500
