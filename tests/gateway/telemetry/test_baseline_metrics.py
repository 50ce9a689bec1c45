"""What is counted of the baseline, and that it all adds up, whatever came before."""

from collections.abc import Sequence
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.facts import BothAnswered, DraftCompleted, Ending, Leg, RequestSettled
from gateway.telemetry.baseline_metrics import BaselineMetrics
from gateway.telemetry.metrics import Metrics
from routing.baseline import (
    Correction,
    Estimate,
    Learner,
    Missing,
    Observation,
    Ratios,
    correction_of,
    measure,
)
from routing.money import PICO_PER_USD, Price, Usage, cost_of, total_of
from routing.vocabulary import Basis, Confidence, Handover, Kind, Reason, Role

STUDENT_PRICE, TEACHER_PRICE = (
    Price(20_000, 10_000, 60_000, 60_000),
    Price(600_000, 0, 2_400_000, 0),
)
SHARE = Fraction(1, 10)
Fact = RequestSettled | DraftCompleted | BothAnswered


def metrics(registry: CollectorRegistry | None = None) -> BaselineMetrics:
    return BaselineMetrics(registry or CollectorRegistry(), ["a"])


def settled(**changes: object) -> RequestSettled:
    values: dict[str, object] = {
        "request_id": "r",
        "ending": Ending.KEPT,
        "status": 200,
        "seconds": 0.1,
        "cascade": "a",
        "served_by": Role.STUDENT,
        "reason": Reason.CONFIDENT,
    }
    return RequestSettled(**(values | changes))  # type: ignore[arg-type]


# --- each fact ---


def test_what_can_be_summed_is_there_before_anything_is_counted() -> None:
    """Or the first amount of a series is one that no increase() ever sees."""
    registry = CollectorRegistry()
    metrics(registry)
    samples = {
        (sample.name, *sample.labels.values())
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert samples == {
        *(("understudy_baseline_usd_total", "a", basis) for basis in Basis),
        ("understudy_baseline_correction_usd_total", "a", "up"),
        ("understudy_baseline_correction_usd_total", "a", "down"),
        ("understudy_baseline_variance_usd2_total", "a"),
        *(
            ("understudy_baseline_unknown_total", "a", cause)
            for cause in ("usage", "price", "observation")
        ),
        ("understudy_baseline_observations_total", "a", "sample"),
        ("understudy_baseline_observations_total", "a", "escalations"),
    }


def test_an_unknown_baseline_is_counted_and_never_zero() -> None:
    registry = CollectorRegistry()
    counted = metrics(registry)
    for missing in Missing:
        counted.settled("a", settled(baseline=Estimate(None, Basis.MEASURED, missing)))
    counted.settled("a", settled(baseline=None))
    for missing in Missing:
        labels = {"cascade": "a", "cause": missing}
        assert registry.get_sample_value("understudy_baseline_unknown_total", labels) == 1


@pytest.mark.parametrize(("pico", "direction"), [(7, "up"), (-7, "down"), (0, "up")])
def test_a_correction_goes_up_or_down(pico: int, direction: str) -> None:
    registry = CollectorRegistry()
    correction = Correction(pico, 49)
    metrics(registry).both_answered(BothAnswered("a", None, Basis.SAMPLE, correction, True))
    name = "understudy_baseline_correction_usd_total"
    labels = {"cascade": "a", "direction": direction}
    assert registry.get_sample_value(name, labels) == abs(pico) / PICO_PER_USD
    variance = "understudy_baseline_variance_usd2_total"
    assert registry.get_sample_value(variance, {"cascade": "a"}) == 49 / PICO_PER_USD**2


@pytest.mark.parametrize(
    ("fact", "observed", "unknown"),
    [
        (BothAnswered("a", None, Basis.SAMPLE, Correction(0, 0), is_learnt=True), 1, 0),
        (BothAnswered("a", None, Basis.SAMPLE, None, is_learnt=True), 1, 1),
        (BothAnswered("a", None, Basis.SAMPLE, None, is_learnt=False), 0, 1),
        (BothAnswered("a", None, Basis.ESCALATIONS, None, is_learnt=True), 1, 0),
    ],
)
def test_what_corrects_nothing_although_it_should_is_counted(
    fact: BothAnswered, observed: int, unknown: int
) -> None:
    registry = CollectorRegistry()
    metrics(registry).both_answered(fact)
    observations = registry.get_sample_value(
        "understudy_baseline_observations_total", {"cascade": "a", "basis": fact.basis}
    )
    assert observations == observed
    causes = {"cascade": "a", "cause": "observation"}
    assert registry.get_sample_value("understudy_baseline_unknown_total", causes) == unknown


def test_the_teachers_ratios_are_asked_when_they_are_read() -> None:
    registry, learner = CollectorRegistry(), Learner()
    metrics(registry).watch({"a": learner})

    def read(part: str, bound: str) -> float | None:
        labels = {"cascade": "a", "part": part, "bound": bound}
        return registry.get_sample_value("understudy_teacher_ratio", labels)

    assert read("output", "estimate") is None
    for written in (10, 30) * 10:
        learner.learn(Observation(Basis.SAMPLE, Usage(100, 10), Usage(125, written)))
    assert read("input", "estimate") == 1.25
    assert read("output", "estimate") == 2
    low, high = read("output", "low"), read("output", "high")
    assert low is not None
    assert high is not None
    assert 1 < low < 2 < high < 3
    assert 2 - low == pytest.approx(high - 2)


# --- all of them ---

TOKENS = st.integers(min_value=0, max_value=10_000)
USAGES = st.none() | st.builds(Usage, input=TOKENS, output=TOKENS)
ERRORS = st.sampled_from([None, "aborted", "spare", "cancelled", "upstream_failed"])


@st.composite
def legs(draw: st.DrawFn) -> Leg:
    role, usage = draw(st.sampled_from(Role)), draw(USAGES)
    price = STUDENT_PRICE if role is Role.STUDENT else TEACHER_PRICE
    return Leg(role, usage, cost_of(usage, price), 0.1, draw(ERRORS))


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    usage = draw(USAGES)
    if draw(st.booleans()):
        return measure(usage, TEACHER_PRICE)
    ratio = draw(st.fractions(min_value=Fraction(1, 10), max_value=10, max_denominator=97))
    basis = draw(st.sampled_from([Basis.SAMPLE, Basis.ESCALATIONS, Basis.PRICES]))
    return Ratios(basis, ratio, ratio).predict(usage, TEACHER_PRICE)


@st.composite
def requests(draw: st.DrawFn) -> RequestSettled:
    """One request, whatever became of it: hand-overs, disconnects and failures among them."""
    ending = draw(st.sampled_from(Ending))
    is_answered = ending in (Ending.KEPT, Ending.ESCALATED, Ending.DEGRADED)
    return settled(
        ending=ending,
        served_by=draw(st.none() | st.sampled_from(Role)),
        reason=draw(st.none() | st.sampled_from(Reason)),
        handover=draw(st.none() | st.sampled_from(Handover)),
        is_stream=True,
        first_byte_seconds=draw(st.none() | st.just(0.1)),
        confidence=Confidence(0.5),
        legs=draw(st.lists(legs(), max_size=3)),
        baseline=draw(estimates()) if is_answered else None,
    )


@st.composite
def observations(draw: st.DrawFn) -> BothAnswered:
    if draw(st.booleans()):
        return BothAnswered("a", None, Basis.ESCALATIONS, None, is_learnt=True)
    measured, predicted = draw(st.integers(0, 10**11)), draw(st.integers(0, 10**11))
    correction = correction_of(measured, predicted, SHARE, is_in_sum=True)
    return BothAnswered("a", None, Basis.SAMPLE, draw(st.sampled_from([correction, None])), True)


COMPLETIONS = st.builds(
    DraftCompleted, st.just("a"), legs(), st.sampled_from([Kind.AUDIT, Kind.SHADOW])
)
HISTORIES = st.lists(requests() | observations() | COMPLETIONS, max_size=12)


def told(history: Sequence[Fact]) -> Metrics:
    counted = Metrics(version="0", calibrated={"a": False})
    for fact in history:
        match fact:
            case RequestSettled():
                counted.settled(fact)
            case DraftCompleted():
                counted.draft_completed(fact)
            case BothAnswered():
                counted.baseline.both_answered(fact)
    return counted


def money(counted: Metrics) -> dict[tuple[str, ...], int]:
    """Every sum of dollars, in whole pico-dollars: sums below 2**52 come back exactly."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): round(
            sample.value * PICO_PER_USD
        )
        for family in counted.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_usd_total")
    }


def total(sums: dict[tuple[str, ...], int], name: str, *labels: str) -> int:
    return sum(sums[key] for key in sums if key[0] == name and {*labels} <= {*key})


@given(HISTORIES)
def test_the_net_saving_is_the_sum_of_all_facts(history: list[Fact]) -> None:
    """Read from the metrics as docs/savings.md says, and added up fact by fact."""
    sums = money(told(history))
    saving = (
        total(sums, "understudy_baseline_usd_total")
        + total(sums, "understudy_baseline_correction_usd_total", "up")
        - total(sums, "understudy_baseline_correction_usd_total", "down")
        - total(sums, "understudy_cost_usd_total")
    )
    expected = 0
    for fact in history:
        match fact:
            case RequestSettled(baseline=baseline):
                expected += 0 if baseline is None else baseline.pico or 0
                expected -= sum(leg.cost_pico or 0 for leg in fact.legs)
            case DraftCompleted(leg=leg):
                expected -= leg.cost_pico or 0
            case BothAnswered(correction=correction):
                expected += 0 if correction is None else correction.pico
    assert saving == expected


@given(HISTORIES)
def test_every_answered_request_is_in_one_baseline_or_counted_as_unknown(
    history: list[Fact],
) -> None:
    counted = told(history)
    requests_ = [fact for fact in history if isinstance(fact, RequestSettled)]
    estimates_ = [fact.baseline for fact in requests_ if fact.baseline is not None]
    unknown = sum(
        counted.registry.get_sample_value(
            "understudy_baseline_unknown_total", {"cascade": "a", "cause": cause}
        )
        or 0
        for cause in Missing
    )
    assert unknown == len([each for each in estimates_ if each.pico is None])
    sums = money(counted)
    for basis in Basis:
        mine = [each.pico for each in estimates_ if each.basis is basis and each.pico is not None]
        assert total(sums, "understudy_baseline_usd_total", basis) == total_of(list(mine))


@given(HISTORIES, st.randoms(use_true_random=False))
def test_the_same_facts_give_the_same_bill_in_any_order(history: list[Fact], dice: Random) -> None:
    again = list(history)
    dice.shuffle(again)
    assert money(told(again)) == money(told(history))
    name, labels = "understudy_baseline_variance_usd2_total", {"cascade": "a"}
    variance = told(history).registry.get_sample_value(name, labels)
    assert told(again).registry.get_sample_value(name, labels) == variance
