"""Turns of the event loop."""

import asyncio


async def turns(count: int) -> None:
    """Let so many pass."""
    for _ in range(count):
        await asyncio.sleep(0)
