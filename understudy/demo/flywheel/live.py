"""Traffic that goes on while something else is done: clients do not wait for a promotion to end."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from understudy.demo.asking import Reply, ask_all
from understudy.demo.options import Model
from understudy.demo.workload import Task

# Requests under way are finished within this, or given up: they are no part of what is measured.
END_SECONDS = 20.0


class LiveTraffic:
    """Sends requests, one after another, from a thread of its own."""

    def __init__(self, model: Model, tasks: Iterator[Task]) -> None:
        self._model = model
        self._tasks = tasks
        self._is_over = threading.Event()
        self._replies: list[Reply] = []
        self._thread = threading.Thread(target=self._send, name="live traffic", daemon=True)

    @property
    def replies(self) -> list[Reply]:
        """All answers so far."""
        return list(self._replies)

    @property
    def is_under_way(self) -> bool:
        """Whether a request may still be without its answer."""
        return self._thread.is_alive()

    @contextmanager
    def flowing(self) -> Iterator["LiveTraffic"]:
        """Send meanwhile; afterwards nothing is under way."""
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            self._thread.join(END_SECONDS)

    def _send(self) -> None:
        until_over = itertools.takewhile(lambda _: not self._is_over.is_set(), self._tasks)
        asyncio.run(ask_all(self._model, until_over, self._replies.append))
