import asyncio

from gateway.stores.cancelling import goes_on, pause

LONG = 30.0


async def test_a_pause_takes_its_time() -> None:
    started = asyncio.get_running_loop().time()
    await pause(0.02)
    assert asyncio.get_running_loop().time() - started >= 0.01
    assert goes_on()


async def test_nobody_sleeps_on_a_cancellation_that_got_lost() -> None:
    async def work() -> bool:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:  # as wait_for may do
            await pause(LONG)
        return goes_on()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(LONG / 10):
        assert await task is False
