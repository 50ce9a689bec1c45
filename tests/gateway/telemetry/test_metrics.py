from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway.facts import ABORTED, DraftCompleted, Ending, Leg, RequestSettled
from gateway.ports import JournalState
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.telemetry.ledger_metrics import LedgerMetrics
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.pair_metrics import PairMetrics
from routing.baseline import Estimate
from routing.money import PICO_PER_USD, Usage
from routing.streaming import Doubt
from routing.vocabulary import Basis, Confidence, Degraded, Handover, Kind, Reason, Role

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
USAGE = Usage(input=100, output=10, cached_input=40, reasoning=4)


def metrics() -> Metrics:
    return Metrics(version="1.2.3", calibrated={"a": False, "b": True})


def fact(**changes: object) -> RequestSettled:
    values: dict[str, object] = {
        "request_id": "r",
        "ending": Ending.KEPT,
        "status": 200,
        "seconds": 0.1,
        "cascade": "a",
        "served_by": Role.STUDENT,
        "reason": Reason.CONFIDENT,
        "confidence": Confidence(0.9),
        "legs": (Leg(Role.STUDENT, USAGE, 5, 0.1),),
        "baseline": Estimate(50, Basis.PRICES),
    }
    return RequestSettled(**(values | changes))  # type: ignore[arg-type]


def sample(counted: Metrics, name: str, **labels: str) -> float | None:
    return counted.registry.get_sample_value(name, labels)


def total(counted: Metrics, name: str) -> float:
    """The sum of all series of a metric, of which there are some."""
    values = [
        line.value
        for family in counted.registry.collect()
        for line in family.samples
        if line.name == name
    ]
    assert values
    return sum(values)


def test_a_kept_request_is_no_deferral() -> None:
    counted = metrics()
    counted.settled(fact())
    assert sample(counted, "understudy_requests_total", cascade="a", outcome="kept") == 1
    assert sample(counted, "understudy_confidence_count", cascade="a", verdict="keep") == 1
    assert total(counted, "understudy_deferrals_total") == 0
    assert total(counted, "understudy_escalations_total") == 0
    for kind, tokens in (("input", 100), ("output", 10), ("cached_input", 40), ("reasoning", 4)):
        labels = {"cascade": "a", "role": "student", "type": kind}
        assert sample(counted, "understudy_tokens_total", **labels) == tokens


FROM_ZERO = [
    row.split("`")[1] for row in PAGE.read_text().splitlines() if "| counter, from 0 |" in row
]


@pytest.mark.parametrize("name", FROM_ZERO)
def test_what_the_page_says_is_there_from_the_start_is(name: str) -> None:
    assert total(metrics(), name) == 0


def test_deferrals_minus_escalations_are_what_was_sent_back() -> None:
    counted = metrics()
    low = {"reason": Reason.LOW_CONFIDENCE, "confidence": Confidence(0.2)}
    counted.settled(fact(ending=Ending.ESCALATED, served_by=Role.TEACHER, **low))
    counted.settled(fact(ending=Ending.DEGRADED, degraded=Degraded.TEACHER_BUSY, **low))
    labels = {"cascade": "a", "reason": "low_confidence"}
    assert sample(counted, "understudy_deferrals_total", **labels) == 2
    assert sample(counted, "understudy_escalations_total", **labels) == 1
    degraded = sample(counted, "understudy_degraded_total", cascade="a", degraded="teacher_busy")
    assert degraded == 1


def test_what_was_thrown_away_is_wasted() -> None:
    counted = metrics()
    legs = (Leg(Role.STUDENT, USAGE, 7, 0.1), Leg(Role.TEACHER, USAGE, 70, 0.2))
    counted.settled(fact(ending=Ending.ESCALATED, served_by=Role.TEACHER, legs=legs))
    name = "understudy_cost_usd_total"
    assert sample(counted, name, cascade="a", role="student", kind="wasted") == 7e-12
    assert sample(counted, name, cascade="a", role="teacher", kind="served") == 70e-12


def test_an_unknown_cost_is_counted_and_never_zero() -> None:
    counted = metrics()
    legs = (Leg(Role.STUDENT, USAGE, None, 0.1), Leg(Role.TEACHER, None, None, 0.1, "cancelled"))
    counted.settled(fact(legs=legs, baseline=None))
    name = "understudy_cost_unknown_total"
    assert sample(counted, name, cascade="a", role="student", cause="price") == 1
    assert sample(counted, name, cascade="a", role="teacher", cause="usage") == 1
    cost = "understudy_cost_usd_total"
    for role, kind in product(Role, Kind):
        assert sample(counted, cost, cascade="a", role=role, kind=kind) == 0


def test_series_of_money_are_there_before_the_first_call() -> None:
    """Or ``increase()`` would not see the first dollar."""
    counted = metrics()
    for cascade, role in product(("a", "b"), Role):
        labels = {"cascade": cascade, "role": role}
        for kind in Kind:
            assert sample(counted, "understudy_cost_usd_total", **labels, kind=kind) == 0
            estimated = "understudy_cost_estimated_usd_total"
            assert sample(counted, estimated, **labels, kind=kind) == 0
        for cause in ("usage", "price"):
            assert sample(counted, "understudy_cost_unknown_total", **labels, cause=cause) == 0


def test_what_was_estimated_is_a_part_of_the_cost() -> None:
    counted = metrics()
    legs = (
        Leg(Role.STUDENT, USAGE, 7, 0.1, ABORTED, is_estimated=True),
        Leg(Role.TEACHER, USAGE, 70, 0.2),
    )
    counted.settled(fact(ending=Ending.ESCALATED, served_by=Role.TEACHER, legs=legs))
    for name in ("understudy_cost_usd_total", "understudy_cost_estimated_usd_total"):
        assert sample(counted, name, cascade="a", role="student", kind="wasted") == 7e-12
    name = "understudy_cost_estimated_usd_total"
    assert sample(counted, name, cascade="a", role="teacher", kind="served") == 0


def test_the_rent_of_gpus_is_asked_for_when_it_is_read() -> None:
    counted = metrics()
    rents = [3 * PICO_PER_USD]
    counted.money.watch_rent("a", Role.TEACHER, lambda: rents[-1])
    name = "understudy_gpu_rent_usd_total"
    assert sample(counted, name, cascade="a", role="teacher") == 3
    rents.append(4 * PICO_PER_USD)
    assert sample(counted, name, cascade="a", role="teacher") == 4
    assert sample(counted, name, cascade="a", role="student") is None


def test_only_a_budget_that_is_set_is_shown() -> None:
    counted = metrics()
    counted.money.budget("a", 500.0)
    assert sample(counted, "understudy_budget_usd_per_month", cascade="a") == 500
    assert sample(counted, "understudy_budget_usd_per_month", cascade="b") is None


@pytest.mark.parametrize(("answer", "shown"), [(True, 1), (False, 0), (None, 0)])
def test_asking_for_cached_tokens_is_audit(answer: bool | None, shown: int) -> None:
    counted = metrics()
    leg = Leg(Role.STUDENT, USAGE, 7, 0.1)
    do_all_tell = answer is True
    fact = CachedTokensAsked("a", Role.STUDENT, 1, answer, "seen", (leg,), "http://s", do_all_tell)
    counted.cached_tokens_asked(fact)
    labels = {"cascade": "a", "role": "student"}
    assert sample(counted, "understudy_cached_tokens_reported", **labels) == shown
    assert sample(counted, "understudy_cost_usd_total", **labels, kind="audit") == 7e-12


def test_a_request_to_no_cascade_is_counted_under_other() -> None:
    counted = metrics()
    nobody = {"cascade": None, "served_by": None, "reason": None, "confidence": None}
    counted.settled(fact(ending=Ending.REJECTED, legs=(), baseline=None, **nobody))
    assert sample(counted, "understudy_requests_total", cascade="other", outcome="rejected") == 1


def test_how_the_journal_stands_is_asked_when_the_metrics_are_read() -> None:
    registry = CollectorRegistry()
    metrics = PairMetrics(registry, ["a"], epoch=lambda: 1000.0)
    states = [JournalState(10, 20, 400.0, True)]
    metrics.watch(lambda: states[-1])
    names = ("unshipped_bytes", "kept_bytes", "oldest_unshipped_seconds", "has_room")

    def read() -> list[float | None]:
        return [registry.get_sample_value(f"understudy_journal_{name}") for name in names]

    assert read() == [10, 20, 600, 1]
    states.append(JournalState(0, 5, None, False))
    assert read() == [0, 5, 0, 0]


def test_pairs_of_a_cascade_that_is_gone_make_no_series() -> None:
    counted = metrics()
    for number in range(100):
        counted.pairs.shipped(f"gone-{number}")
    counted.pairs.lost(None, "journal_shortened")
    assert sample(counted, "understudy_pairs_shipped_total", cascade="other") == 100
    assert (
        sample(counted, "understudy_pairs_lost_total", cascade="other", cause="journal_shortened")
        == 1
    )


def test_what_nobody_can_count_is_absent() -> None:
    counted = metrics()
    counted.pairs.counted("a", 7, 4)
    counted.pairs.counted("b", 3, None)
    stored, unread = "understudy_pairs_stored", "understudy_pairs_unread"
    assert [sample(counted, name, cascade="a") for name in (stored, unread)] == [7, 4]
    assert [sample(counted, name, cascade="b") for name in (stored, unread)] == [3, None]
    counted.pairs.counted("a", None, None)
    assert [sample(counted, name, cascade="a") for name in (stored, unread)] == [None, None]


def test_it_says_which_policies_are_calibrated() -> None:
    counted = metrics()
    assert sample(counted, "understudy_policy_calibrated", cascade="a") == 0
    assert sample(counted, "understudy_policy_calibrated", cascade="b") == 1
    assert sample(counted, "understudy_build_info", version="1.2.3") == 1


def test_a_stream_tells_when_its_first_byte_left() -> None:
    counted = metrics()
    name = "understudy_first_byte_seconds_count"
    counted.settled(fact())
    assert sample(counted, name, cascade="a", outcome="kept") is None
    counted.settled(fact(is_stream=True, first_byte_seconds=0.2))
    assert sample(counted, name, cascade="a", outcome="kept") == 1


@pytest.mark.parametrize("handover", list(Handover))
def test_a_late_doubt_is_counted_by_what_became_of_it(handover: Handover) -> None:
    counted = metrics()
    doubt = Doubt(32, Reason.LOW_CONFIDENCE, Confidence(0.1))
    of_stream = {"is_stream": True, "handover": handover}
    counted.settled(fact(reason=Reason.LATE_DOUBT, doubt=doubt, **of_stream))
    counted.settled(fact(reason=Reason.STUDENT_FAILED, **of_stream))  # it broke off: no doubt
    name = "understudy_late_doubts_total"
    assert sample(counted, name, cascade="a", handover=handover) == 1


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"first_byte_seconds": 0.1}, "served"),
        ({"first_byte_seconds": 0.1, "served_by": Role.TEACHER}, "wasted"),
        (
            {
                "first_byte_seconds": 0.1,
                "served_by": Role.TEACHER,
                "handover": Handover.CONTINUE,
            },
            "served",
        ),
        ({"first_byte_seconds": None}, "wasted"),
    ],
)
def test_words_that_are_out_were_served_even_where_the_model_then_broke_off(
    changes: dict[str, object], kind: str
) -> None:
    counted = metrics()
    legs = (Leg(Role.STUDENT, USAGE, 7, 0.1, "upstream_unavailable"),)
    counted.settled(fact(is_stream=True, legs=legs, ending=Ending.FAILED, **changes))
    name = "understudy_cost_usd_total"
    assert sample(counted, name, cascade="a", role="student", kind=kind) == 7e-12


def test_an_aborted_draft_is_no_failure_of_the_student() -> None:
    counted = metrics()
    legs = (Leg(Role.STUDENT, USAGE, 7, 0.1, ABORTED), Leg(Role.TEACHER, USAGE, 70, 0.2))
    counted.settled(fact(ending=Ending.ESCALATED, served_by=Role.TEACHER, legs=legs))
    assert sample(counted, "understudy_drafts_aborted_total", cascade="a") == 1
    assert total(counted, "understudy_upstream_errors_total") == 0
    cost = "understudy_cost_usd_total"
    assert sample(counted, cost, cascade="a", role="student", kind="wasted") == 7e-12


@pytest.mark.parametrize(("error", "outcome"), [(None, "completed"), ("upstream_failed", "failed")])
def test_a_draft_finished_off_the_path_is_audit(error: str | None, outcome: str) -> None:
    counted = metrics()
    counted.draft_completed(DraftCompleted("a", Leg(Role.STUDENT, USAGE, 7, 0.1, error)))
    name = "understudy_drafts_completed_total"
    assert sample(counted, name, cascade="a", outcome=outcome) == 1
    cost = "understudy_cost_usd_total"
    assert sample(counted, cost, cascade="a", role="student", kind="audit") == 7e-12


@pytest.mark.parametrize(("answer", "shown"), [(True, 1), (False, 0), (None, 0)])
def test_a_probe_of_a_teacher_is_audit(answer: bool | None, shown: int) -> None:
    counted = metrics()
    assert sample(counted, "understudy_teacher_continues", cascade="a") is None
    counted.continuation_wanted("a")
    assert sample(counted, "understudy_teacher_continues", cascade="a") == 0
    leg = Leg(Role.TEACHER, USAGE, 9, 0.1)
    fact = TeacherProbed("a", 1, answer, "as seen", (leg,), "http://t", answer is True)
    counted.teacher_probed(fact)
    assert sample(counted, "understudy_teacher_continues", cascade="a") == shown
    cost = "understudy_cost_usd_total"
    assert sample(counted, cost, cascade="a", role="teacher", kind="audit") == 9e-12


@settings(deadline=None)  # a busy machine may take its time
@given(st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=50))
def test_dollars_add_up_to_the_pico(costs: list[int]) -> None:
    counted = metrics()
    for cost in costs:
        counted.settled(fact(legs=(Leg(Role.STUDENT, USAGE, cost, 0.1),)))
    shown = sample(counted, "understudy_cost_usd_total", cascade="a", role="student", kind="served")
    assert shown == sum(costs) / PICO_PER_USD


@given(st.integers(min_value=0, max_value=8192 * PICO_PER_USD))
def test_below_8192_dollars_the_sum_can_be_read_to_the_pico(pico: int) -> None:
    counted = metrics()
    counted.settled(fact(legs=(Leg(Role.STUDENT, USAGE, pico, 0.1),)))
    page = counted.exposition().decode()
    (line,) = (
        each for each in page.splitlines()
        if each.startswith("understudy_cost_usd_total{") and 'cascade="a"' in each
        and 'role="student"' in each and 'kind="served"' in each
    )  # fmt: skip
    shown = Decimal(float(line.rpartition(" ")[2]))
    assert round(shown * PICO_PER_USD) == pico


def test_the_ledger_tells_how_long_its_oldest_sums_wait() -> None:
    registry, since = CollectorRegistry(), [None, 990.0, 1001.0]
    counted = LedgerMetrics(registry, epoch=lambda: 1000.0)
    counted.watch(lambda: since[0])
    waits = []
    while since:
        waits.append(registry.get_sample_value("understudy_ledger_waiting_seconds"))
        del since[0]
    assert waits == [0.0, 10.0, 0.0]


def test_records_of_the_ledger_are_no_pairs() -> None:
    counted = metrics()
    counted.ledger.written()
    counted.ledger.shipped()
    assert sample(counted, "understudy_ledger_records_written_total") == 1
    assert sample(counted, "understudy_ledger_records_shipped_total") == 1
    assert sample(counted, "understudy_pairs_written_total", cascade="a") == 0


@pytest.mark.parametrize("suffix", ["_total", "_created"])
def test_the_text_parses_and_only_counters_end_in_total(suffix: str) -> None:
    counted = metrics()
    counted.settled(fact())
    families = list(text_string_to_metric_families(counted.exposition().decode()))
    for family in families:
        for line in family.samples:
            if line.name.startswith("understudy_") and line.name.endswith(suffix):
                assert family.type == ("counter" if suffix == "_total" else "gauge"), line.name
