from math import log, sqrt
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity import (
    Server,
    Targets,
    Work,
    alone_seconds,
    full_seconds,
    queue,
    servers,
    squared_parts,
    steadiness,
    step_seconds,
    with_headroom,
)
from deploy.needs import TEACHER

# Requests of one token of an answer and no prompt, at one token a second for each sequence.
EXPONENTIAL = Work(0, 0, 1, 1)
ALWAYS_THE_SAME = Work(0, 0, 1, 0)


def independent(sequences: int) -> Server:
    """Sequences that do not slow each other down."""
    return Server(1, 1, 1e9, 1, sequences, sequences, 0, 0)


positive = st.floats(0.01, 1000)


@st.composite
def made_servers(draw: st.DrawFn) -> Server:
    slots, alone = draw(st.integers(1, 64)), draw(st.floats(1, 500))
    full = alone * draw(st.floats(1, slots))
    return Server(1, 2, draw(st.floats(100, 1e5)), alone, full, slots, 0.1, 0.2)


works = st.builds(Work, st.floats(0, 5000), st.floats(0, 2), st.floats(1, 2000), st.floats(0, 2))
targets = st.builds(Targets, st.floats(0.1, 0.95), st.floats(0.01, 10), st.integers(0, 4))


def test_sequences_that_do_not_slow_each_other_down_wait_as_erlang_says() -> None:
    # Erlang's table: ten servers, eight erlangs.
    assert queue(independent(10), EXPONENTIAL, 8).waiting == pytest.approx(0.409, abs=0.001)


def test_one_slot_is_the_queue_with_one_server() -> None:
    assert queue(independent(1), EXPONENTIAL, 0.5).latency_seconds == pytest.approx(2.0)


def test_a_wait_for_work_that_is_always_the_same_is_half_as_long() -> None:
    spread, even = (
        queue(independent(1), work, 0.5).latency_seconds - 1
        for work in (EXPONENTIAL, ALWAYS_THE_SAME)
    )
    assert even == pytest.approx(spread / 2)


def test_a_server_that_nobody_asks_is_idle() -> None:
    assert queue(TEACHER, Work(1000, 1, 200, 1), 0).sequences == 0


@pytest.mark.parametrize("rate", [1.0, 1.5])
def test_at_capacity_and_beyond_waits_have_no_end(rate: float) -> None:
    assert queue(independent(1), EXPONENTIAL, rate).wait_seconds == float("inf")


def test_without_prompts_the_chain_is_as_restless_as_the_server() -> None:
    assert steadiness(TEACHER, Work(0, 0, 200, 1), 40) == 1
    assert steadiness(TEACHER, Work(1000, 1, 200, 1), 1) == 1  # there is nobody to stop
    assert 0.5 < steadiness(TEACHER, Work(1000, 1, 200, 1), 40) < 1


@pytest.mark.parametrize("step", [300, 1000, 4000])
def test_the_parts_in_which_prompts_are_read_are_those_of_drawn_prompts(step: int) -> None:
    dice, work = Random(1), Work(1000, 0.9, 200, 1)
    sigma = sqrt(log(1 + work.input_spread**2))
    drawn = [dice.lognormvariate(log(1000) - sigma**2 / 2, sigma) for _ in range(20_000)]
    whole = mean(tokens**2 if tokens <= step else step * tokens for tokens in drawn)
    assert squared_parts(work, step) == pytest.approx(whole, rel=0.03)


def test_prompts_that_are_all_alike_are_read_in_one_part_or_in_full_ones() -> None:
    assert squared_parts(Work(1000, 0, 1, 1), 1001) == pytest.approx(1000**2)
    assert squared_parts(Work(1000, 0, 1, 1), 250) == pytest.approx(4 * 250**2)
    assert squared_parts(Work(0, 0, 1, 1), 250) == 0


def test_a_batch_takes_the_times_that_were_measured_at_both_ends() -> None:
    assert step_seconds(TEACHER, 1) == pytest.approx(1 / TEACHER.alone_tokens_per_second)
    whole = TEACHER.max_sequences / TEACHER.full_tokens_per_second
    assert step_seconds(TEACHER, TEACHER.max_sequences) == pytest.approx(whole)


def test_the_line_between_both_ends_is_that_of_a_real_server() -> None:
    # vLLM 0.32, CPU build, SmolLM2-135M on two cores: 52, 208 and 261 tokens a second of 1, 8 and
    # 16 sequences.
    server = Server(0, 1, 1500, 52, 261, 16, 0, 0)
    assert 8 / step_seconds(server, 8) == pytest.approx(208, rel=0.02)


@pytest.mark.parametrize(
    ("prompt", "answer", "requests_per_second"),
    [(218, 197, 18.76), (128, 4, 161.07), (1996, 99, 9.04), (3996, 182, 3.94)],
)
def test_the_teachers_defaults_have_the_capacity_of_published_runs(
    prompt: float, answer: float, requests_per_second: float
) -> None:
    # GPUStack's performance lab, Qwen3-235B-A22B on H100: `vllm serve …-FP8 -tp 4
    # --max-num-batched-tokens 16384`, vLLM 0.11; deploy/sizing.md says more.
    capacity = 1 / full_seconds(TEACHER, Work(prompt, 0, answer, 0))
    assert capacity == pytest.approx(requests_per_second, rel=0.15)


@given(made_servers(), works, targets, positive, positive)
def test_more_requests_never_need_fewer_servers(
    server: Server, work: Work, aim: Targets, rate: float, more: float
) -> None:
    low, high = (servers(server, work, each, aim) for each in (rate, rate + more))
    assert low.needed <= high.needed
    assert low.running <= high.running


@given(made_servers(), works, targets, positive)
def test_the_servers_meet_the_targets_and_one_less_does_not(
    server: Server, work: Work, aim: Targets, rate: float
) -> None:
    fleet = servers(server, work, rate, aim)
    assert fleet.queue.utilisation <= aim.utilisation * (1 + 1e-9)
    assert fleet.queue.wait_seconds <= aim.wait_seconds
    if fleet.needed > 1:
        fewer = queue(server, work, rate / (fleet.needed - 1))
        assert fewer.utilisation > aim.utilisation or fewer.wait_seconds > aim.wait_seconds


@given(made_servers(), works, st.floats(0.01, 0.9), st.floats(1.01, 1.1))
def test_a_busier_server_answers_later(
    server: Server, work: Work, busy: float, busier: float
) -> None:
    rate = busy / full_seconds(server, work)
    early, late = (queue(server, work, each) for each in (rate, rate * busier))
    assert alone_seconds(server, work) <= early.latency_seconds * (1 + 1e-9)
    # An approximation, which may dip a little; more so where prompts take longer than answers.
    reading = work.input_tokens / server.prefill_tokens_per_second
    is_mostly_written = reading <= work.output_tokens / server.alone_tokens_per_second
    dip = 0.02 if is_mostly_written else 0.2
    assert early.latency_seconds <= late.latency_seconds * (1 + dip)


@given(st.integers(1, 5000), st.integers(2, 6))
def test_enough_is_left_when_a_zone_is_lost_and_none_too_many_run(needed: int, zones: int) -> None:
    def left(running: int) -> int:
        return running - -(-running // zones)

    running = with_headroom(needed, Targets(zones=zones))
    assert left(running) >= needed > left(running - 1)


def test_one_zone_has_one_replica_to_spare_and_none_has_none() -> None:
    assert with_headroom(7, Targets(zones=1)) == 8
    assert with_headroom(7, Targets(zones=0)) == 7
    assert with_headroom(0, Targets()) == 0


def test_what_is_bought_by_the_token_runs_nowhere() -> None:
    bought = Server(4, 0, 20_000, 75, 5_000, 256, 0.6, 2.4)
    fleet = servers(bought, Work(1000, 1, 75, 1), 1e6, Targets())
    assert (fleet.needed, fleet.running) == (0, 0)
    assert fleet.queue.latency_seconds == pytest.approx(1.05)
