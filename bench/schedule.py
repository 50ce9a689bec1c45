"""Requests that are due at fixed times, whatever becomes of those before them.

A client that waits for its answer before it asks again asks less while a server is slow, and so
hardly sees it.  Here latency counts from when a request was due, sent or not.
"""

import asyncio
import threading
import time
from collections.abc import Callable

LEAD_NS = 5_000_000
# So late the clock's own thread may be.  What is more, the machine has taken from it: no request of
# that time waited for whoever is measured, for none was on its way.
OWN_LATENESS_NS = 1_000_000


class Schedule:
    """So many moments, evenly spaced; ``on_due`` hears of each in the loop's thread.

    A thread of its own waits for them, because the loop's timers count whole milliseconds.
    """

    def __init__(self, rate: float, count: int, on_due: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_due = on_due
        self._gap_ns = 1e9 / rate
        self._count = count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin in a moment."""
        self._thread.start()

    def end(self) -> None:
        """Tell of no more; returns when that holds."""
        self._ended.set()
        self._thread.join()

    def _tell(self) -> None:
        began = time.perf_counter_ns() + LEAD_NS
        for number in range(self._count):
            due = began + round(number * self._gap_ns)
            if (wait_ns := due - time.perf_counter_ns()) > 0:
                time.sleep(wait_ns / 1e9)
            if self._ended.is_set():
                return
            due = max(due, time.perf_counter_ns() - OWN_LATENESS_NS)
            self._loop.call_soon_threadsafe(self._on_due, due)
