import re
from dataclasses import asdict, fields, replace
from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity import Targets
from deploy.needs import (
    STUDENT,
    TEACHER,
    Gateway,
    Inputs,
    Load,
    Prices,
    Store,
    cpu_seconds,
    faults,
    plan,
    wire_bytes,
)
from gateway.settings import Settings
from tests.architecture.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

loads = st.builds(
    Load,
    requests_per_second=st.floats(0.01, 2000),
    peak_factor=st.floats(1, 5),
    input_tokens=st.floats(0, 4000),
    input_spread=st.floats(0, 2),
    output_tokens=st.floats(1, 1000),
    output_spread=st.floats(0, 2),
    teacher_verbosity=st.floats(0.5, 3),
    escalation_rate=st.floats(0, 1),
    streamed_share=st.floats(0, 1),
)
# With few slots a plan takes a tenth of the time.
small = {
    "student": replace(STUDENT, full_tokens_per_second=3000, max_sequences=24),
    "teacher": replace(TEACHER, full_tokens_per_second=1000, max_sequences=24),
}
inputs = st.builds(Inputs, load=loads, **{name: st.just(server) for name, server in small.items()})


def streamed_us(answer: str) -> float:
    """The last cell of the row of README's table of streams with 32 at once."""
    (cell,) = re.findall(rf"^\| {answer} \| 32 \|.* ms \| (\d+) \|$", README, re.MULTILINE)
    return float(cell)


def test_the_gateways_times_are_those_of_the_readme() -> None:
    gateway = Gateway()
    at_32 = r"^\| \*\*Understudy, (kept|escalated)\*\* \|(?: \S+ \|){2} (\S+) \|"
    whole = {name: float(mean.replace(",", "")) for name, mean in re.findall(at_32, README, re.M)}
    assert whole == {"kept": gateway.kept_us, "escalated": gateway.escalated_us}
    assert streamed_us("kept") == gateway.kept_token_us
    assert streamed_us("deferred") == gateway.escalated_token_us
    assert f"The gateway takes about {gateway.memory_mib:.0f} MiB" in README
    assert f"1,000 open streams hold {gateway.stream_kib:.0f} KiB each" in README
    exported = f"`pairs export --no-consolidate` | 166 | {Store().export_pairs_per_second:,.0f} |"
    assert exported in README


def test_the_limits_are_those_of_the_gateway() -> None:
    most = Settings.model_fields["max_open_requests"].default
    assert Gateway().max_open_requests == most
    series = f"fewer than {Gateway().series:,.0f} series"
    assert series in (ROOT / "docs/metrics.md").read_text(encoding="utf-8")


def test_a_request_costs_the_gateway_what_its_kind_and_its_tokens_cost() -> None:
    gateway = Gateway(400, 600, 2, 100, 200)
    whole = Load(output_tokens=164, escalation_rate=0.5, streamed_share=0)
    assert cpu_seconds(whole, gateway) == pytest.approx((500 + 100 * 2) * 1e-6)
    stream = replace(whole, streamed_share=1, teacher_verbosity=2)
    assert cpu_seconds(stream, gateway) == pytest.approx((82 * 100 + 164 * 200) * 1e-6)
    short = replace(whole, output_tokens=8, escalation_rate=0)
    assert cpu_seconds(short, gateway) == pytest.approx(400e-6)


def test_open_requests_need_gateways_where_processors_do_not() -> None:
    slow = replace(TEACHER, prefill_tokens_per_second=1000)
    load = Load(300, 1, escalation_rate=1, streamed_share=0)
    needed = plan(Inputs(load, teacher=slow))
    queue = needed.fleets.gateways.queue
    assert queue.utilisation < 0.3
    assert queue.sequences + 4 * queue.sequences**0.5 <= Gateway().max_open_requests
    fewer = needed.open_requests / (needed.fleets.gateways.needed - 1)
    assert fewer + 4 * fewer**0.5 > Gateway().max_open_requests


def test_all_bytes_of_a_request_are_on_a_wire() -> None:
    store = Store(text_token_bytes=1, draft_token_bytes=10, client_chunk_bytes=100)
    load = Load(input_tokens=1000, output_tokens=10, escalation_rate=0.5, streamed_share=0)
    assert wire_bytes(load, store) == (1010, 1500 + 100 + 5)


def test_a_teacher_bought_by_the_token_is_paid_for_the_mean_load() -> None:
    bought = replace(TEACHER, usd_per_hour=0)
    load = Load(10, 3, 1e6, 0, 1e6, 0, escalation_rate=0.1)
    needed = plan(Inputs(load, teacher=bought))
    month = 730 * 3600
    assert needed.fleets.teachers.running == 0
    assert needed.bill["teachers"] == pytest.approx(10 * 0.1 * 3.0 * month)
    assert needed.teacher_only_usd == pytest.approx(10 * 3.0 * month)


@given(inputs)
def test_the_bill_adds_up_and_no_line_is_negative(chosen: Inputs) -> None:
    needed = plan(chosen)
    assert all(usd >= 0 for usd in needed.bill.values())
    assert needed.usd == pytest.approx(sum(needed.bill.values()))
    assert needed.saving == pytest.approx(1 - needed.usd / needed.teacher_only_usd)
    assert needed.cells >= max(needed.limits.values())


@given(inputs, st.sampled_from(["requests_per_second", "peak_factor"]), st.floats(1, 10))
def test_more_requests_never_need_less(chosen: Inputs, name: str, factor: float) -> None:
    more = replace(chosen.load, **{name: getattr(chosen.load, name) * factor})
    low, high = plan(chosen), plan(replace(chosen, load=more))
    for each in fields(low.fleets):
        less, much = getattr(low.fleets, each.name), getattr(high.fleets, each.name)
        assert less.needed <= much.needed
        assert less.running <= much.running
    assert low.shared.redis_gib <= high.shared.redis_gib
    for line in ("gateways", "students", "teachers"):
        assert low.bill[line] <= high.bill[line]


@given(inputs, st.floats(0, 1))
def test_more_escalations_never_need_fewer_teachers(chosen: Inputs, part: float) -> None:
    fewer = replace(chosen.load, escalation_rate=chosen.load.escalation_rate * part)
    low, high = plan(replace(chosen, load=fewer)), plan(chosen)
    assert low.fleets.teachers.needed <= high.fleets.teachers.needed
    assert low.bill["teachers"] <= high.bill["teachers"]


@given(inputs)
def test_dearer_hours_never_make_a_cheaper_month(chosen: Inputs) -> None:
    dear = Prices(*(2 * price for price in asdict(chosen.prices).values()))
    assert plan(chosen).usd <= plan(replace(chosen, prices=dear)).usd


def test_the_defaults_have_no_fault() -> None:
    assert not list(faults(Inputs()))


@pytest.mark.parametrize(
    "wrong",
    [
        Inputs(Load(0)),
        Inputs(Load(-1)),
        Inputs(Load(nan)),
        Inputs(Load(inf)),
        Inputs(Load(output_tokens=0)),
        Inputs(Load(peak_factor=0.99)),
        Inputs(Load(escalation_rate=1.01)),
        Inputs(Load(streamed_share=15)),
        Inputs(targets=Targets(utilisation=1)),
        Inputs(targets=Targets(utilisation=0)),
        Inputs(targets=Targets(wait_seconds=0)),
        Inputs(gateway=Gateway(utilisation=0)),
        Inputs(student=replace(STUDENT, alone_tokens_per_second=0)),
        Inputs(student=replace(STUDENT, full_tokens_per_second=199)),
        Inputs(teacher=replace(TEACHER, full_tokens_per_second=75 * 256 + 1)),
        Inputs(teacher=replace(TEACHER, prefill_tokens_per_second=0)),
        Inputs(teacher=replace(TEACHER, usd_per_hour=0, usd_per_million_input=0,
                               usd_per_million_output=0)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_found(wrong: Inputs) -> None:
    assert list(faults(wrong))


@pytest.mark.parametrize("part", [each.name for each in fields(Inputs)])
def test_a_number_of_none_is_found_or_counted_with(part: str) -> None:
    given = Inputs()
    for each in fields(getattr(given, part)):
        nothing = replace(given, **{part: replace(getattr(given, part), **{each.name: 0})})
        assert list(faults(nothing)) or isfinite(plan(nothing).saving), each.name
