"""Does what takes long in a thread of its own, so that the event loop goes on meanwhile.

One at a time: two would not be quicker, since Python computes in one thread at once, and each that
wants to makes the loop wait for its turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

# Smaller bodies are understood in less time than it takes to hand them over and wait in line.
LARGE_BODY_BYTES = 64 * 2**10

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """The thread.  It begins with the first work."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aside")

    async def for_body(
        self, body: bytes, work: Callable[P, T], *given: P.args, **named: P.kwargs
    ) -> T:
        """What ``work`` makes of what is given, or raises: it takes as long as the body is large.

        Of a small one it is done at once.  It is done to its end, also where nobody waits for it.
        """
        if len(body) < LARGE_BODY_BYTES:
            return work(*given, **named)
        all_of_it = partial(work, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._pool, all_of_it)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
