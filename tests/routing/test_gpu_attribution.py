"""What the two ways to share a rent out come to on a simulated server: docs/decisions/0012.

It reads 20,000 tokens a second while nobody writes, and writes 2,400 for all calls together, at
most 40 a second for one.  Half of the requests have long prompts, half long answers.
"""

import random
from dataclasses import dataclass

import pytest

from routing.gpu_time import NANOSECONDS_PER_SECOND, GpuMeter, Rent

READS, WRITES, WRITES_ALONE = 20_000, 2_400, 40
STEP = 0.01
SECONDS = 600
DOLLAR_A_SECOND = Rent(3600 * 10**12)


@dataclass
class Call:
    """One request: how many tokens it still has to read and to write, and what it costs."""

    is_long_prompt: bool
    to_read: float
    to_write: float
    mark: int
    by_tokens: float


@dataclass
class Bill:
    """Dollars of finished calls with long prompts and with long answers, by either way."""

    by_time: dict[bool, float]
    by_tokens: dict[bool, float]
    rent: float

    def ratio(self, *, is_long_prompt: bool) -> float:
        return self.by_time[is_long_prompt] / self.by_tokens[is_long_prompt]

    @property
    def idle(self) -> float:
        return 1 - sum(self.by_time.values()) / self.rent

    @property
    def unaccounted(self) -> float:
        return 1 - sum(self.by_tokens.values()) / self.rent


def simulated(arrivals_per_second: float, seed: int = 6) -> Bill:
    """A first come first served prefill that halts all writing, then writing side by side."""
    dice = random.Random(seed)
    lane = GpuMeter(DOLLAR_A_SECOND, 0).lane()
    calls: list[Call] = []
    bill = Bill({True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}, SECONDS)
    for tick in range(int(SECONDS / STEP)):
        now = int(tick * STEP * NANOSECONDS_PER_SECOND)
        if dice.random() < arrivals_per_second * STEP:
            is_long_prompt = dice.random() < 0.5
            read, write = (4000.0, 50.0) if is_long_prompt else (200.0, 400.0)
            work = read / READS + write / WRITES
            calls.append(Call(is_long_prompt, read, write, lane.open(now), work))
        reading = next((call for call in calls if call.to_read > 0), None)
        if reading is not None:
            reading.to_read -= READS * STEP
        elif calls:
            speed = min(WRITES_ALONE, WRITES / len(calls))
            for call in calls:
                call.to_write -= speed * STEP
        for call in [call for call in calls if call.to_write <= 0]:
            calls.remove(call)
            bill.by_time[call.is_long_prompt] += lane.close(now, call.mark) / 10**12
            bill.by_tokens[call.is_long_prompt] += call.by_tokens
    return bill


@pytest.mark.simulated
@pytest.mark.parametrize(
    ("arrivals_per_second", "prompts", "answers", "idle", "unaccounted"),
    [(1.0, 1.12, 10.1, 0.01, 0.81), (4.0, 0.29, 2.44, 0.02, 0.20)],
)
def test_the_bias_is_what_the_decision_says(
    arrivals_per_second: float, prompts: float, answers: float, idle: float, unaccounted: float
) -> None:
    """By time, hardly anything is idle, and long answers pay for long prompts; by tokens neither.

    The first two are dollars by time over dollars by tokens.
    """
    bill = simulated(arrivals_per_second)
    assert bill.ratio(is_long_prompt=True) == pytest.approx(prompts, rel=0.02)
    assert bill.ratio(is_long_prompt=False) == pytest.approx(answers, rel=0.02)
    assert bill.idle == pytest.approx(idle, abs=0.005)
    assert bill.unaccounted == pytest.approx(unaccounted, abs=0.01)
