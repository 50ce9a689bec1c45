"""How late the event loop is, and whether it was computing meanwhile."""

import asyncio

import pytest

from gateway.lag import LOOK_SECONDS, LagWatch


class Clocks:
    """A clock, and the processor time of a thread, both as they are set."""

    def __init__(self) -> None:
        self.now = self.computed = 100.0
        self.told: list[tuple[float, float]] = []

    def tell(self, lag: float, computing: float) -> None:
        self.told.append((lag, computing))


@pytest.mark.parametrize(
    ("waited", "computed", "told"),
    [
        (0.020, 0.001, (0.0, 0.0)),
        (0.019, 0.001, (0.0, 0.0)),
        (0.060, 0.045, (0.040, 0.040)),
        (0.060, 0.010, (0.040, 0.010)),
    ],
    ids=["in time", "early", "it computed", "the machine was elsewhere"],
)
async def test_the_lag_is_told_and_what_of_it_was_computing(
    waited: float, computed: float, told: tuple[float, float]
) -> None:
    clocks = Clocks()
    watch = LagWatch(lambda: clocks.now, lambda: clocks.computed, clocks.tell)
    async with watch.running():
        clocks.now += waited
        clocks.computed += computed
        watch.look()
    assert clocks.told == [pytest.approx(told)]


async def test_it_looks_again_and_again_until_the_end() -> None:
    clocks, looks = Clocks(), asyncio.Queue[tuple[float, float]]()
    loop = asyncio.get_running_loop()
    watch = LagWatch(loop.time, lambda: clocks.computed, lambda *told: looks.put_nowait(told))
    async with watch.running():
        for _ in range(3):
            await looks.get()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(looks.get(), 2 * LOOK_SECONDS)
