"""Audits what is owed, once the teacher is back: as many at a time as any audits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.api.context import Context
from gateway.audits.hindrance import hindrance_of

LOOK_SECONDS = 1.0


class CatchingUp:
    """Looks now and then whether anything owed may be made up for."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look in the background, where any cascade wants that."""
        debts = [served.audits.debt for served in self._context.served.values()]
        if all(debt is None for debt in debts):
            yield
            return
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def look(self) -> None:
        """Begin what may be begun now."""
        for served in self._context.served.values():
            debt, teacher = served.audits.debt, served.cascade.teacher.chat
            # A teacher that is away would be asked in vain, which counts against the drafts.
            while (
                debt is not None
                and debt.may_take(self._context.clock())
                and not teacher.is_left_alone
            ):
                if hindrance_of(self._context, served) is not None:
                    break
                debt.take().begin()

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self.look()
        except Exception:
            self._context.observer.log.exception("bug", message="catching up on audits ended")
