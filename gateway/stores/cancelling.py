"""Background work that ends when it is told to, although the word may get lost.

Python 3.11's wait_for, which the Redis client uses, may swallow a cancellation that comes just as
a write ends: then nothing but the task's own count remembers it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


def goes_on() -> bool:
    """Whether nobody has cancelled this task."""
    task = asyncio.current_task()
    return task is None or not task.cancelling()


async def pause(seconds: float) -> None:
    """Sleep, but not where this task is cancelled: its end would wait for that."""
    if goes_on():
        await asyncio.sleep(seconds)


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have these go on while this is open; at its end they are told to end, and have."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
