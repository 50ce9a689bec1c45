"""Draws from the books of keys' limits in the background, and gives back what is in hand in vain.

One ask of a key is under way at a time.  Keys whose books cannot be asked are tried by a task of
their own, so that they hold up no others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from gateway.allotment import Allotment
from gateway.ports import Clock, DrawFailed, LimitBooks, LimitEvents, Order
from gateway.stores.cancelling import goes_on, pause
from routing.lease import WINDOW_SECONDS, Ask, Books, Drawn
from routing.vocabulary import Limit

LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0
# So many keys are asked for at once, in some 5 ms of processor time; the others come right after.
MOST_ORDERS = 64
# So long the end waits to give back what is in hand.
END_SECONDS = 1.0


class OwnBooks:
    """The books of a process that shares its limits with nobody."""

    def __init__(self, epoch: Clock) -> None:
        """``epoch`` counts seconds from 1970."""
        self._epoch = epoch
        self._books: dict[tuple[str, Limit], Books] = {}

    async def draw(self, orders: Sequence[Order]) -> Sequence[Mapping[Limit, Drawn]]:
        """Book orders."""
        return [
            {limit: self._draw(order.key, limit, ask) for limit, ask in order.asks.items()}
            for order in orders
        ]

    async def close(self) -> None:
        """There is nothing to close."""

    def _draw(self, key: str, limit: Limit, ask: Ask) -> Drawn:
        books = self._books.setdefault((key, limit), Books())
        return books.draw(ask, WINDOW_SECONDS[limit], self._epoch())


class Drawing:
    """The background work of one gateway's limits; it has nothing to do without limited keys."""

    def __init__(
        self, books: LimitBooks, clock: Clock, events: LimitEvents, on_bug: Callable[[], None]
    ) -> None:
        """``on_bug`` is called while the exception is handled that ended a round."""
        self._books = books
        self._clock = clock
        self._events = events
        self._on_bug = on_bug
        self._due: dict[str, Allotment] = {}
        self._in_use: dict[str, Allotment] = {}
        self._away: dict[str, Allotment] = {}
        self._is_told = False
        self._poked = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Draw while this is open; at the end give back, within a bound."""
        tasks = [
            asyncio.create_task(self._keep_drawing()),
            asyncio.create_task(self._keep_trying()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self._give_back()
            await self._books.close()

    @property
    def is_away(self) -> bool:
        """Whether the books of some keys could not be asked the last time."""
        return bool(self._away)

    def poke(self, allotment: Allotment) -> None:
        """Something of this key is to be drawn now."""
        self._due[allotment.key] = self._in_use[allotment.key] = allotment
        self._poked.set()

    def look_after(self, allotment: Allotment) -> None:
        """Something may be in hand of this key, or owed."""
        if allotment.key not in self._in_use:
            self._in_use[allotment.key] = allotment
            self._poked.set()  # where there was nothing to look after, nobody looks

    def waited_in_vain(self, allotment: Allotment) -> None:
        """A request had no answer in time: no other waits until there is one."""
        allotment.is_away = True
        self._leave(allotment)

    async def _keep_drawing(self) -> None:
        looked_at = self._clock()
        while goes_on():
            seconds = looked_at + LOOK_SECONDS - self._clock() if self._in_use else None
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._poked.wait()
            self._poked.clear()
            try:
                if self._clock() >= looked_at + LOOK_SECONDS:
                    looked_at = self._clock()
                    await self._draw(list(self._in_use.values()), is_look=True)
                elif self._due:
                    await self._draw(list(self._due.values()), is_look=False)
            except Exception:  # noqa: BLE001  # the listener logs it
                self._on_bug()
                await pause(RETRY_SECONDS)

    async def _draw(self, allotments: Sequence[Allotment], *, is_look: bool) -> None:
        for start in range(0, len(allotments), MOST_ORDERS):
            part = [
                one
                for one in allotments[start : start + MOST_ORDERS]
                if not (one.is_asked or one.is_away)
            ]
            for one in part:
                self._due.pop(one.key, None)
            now = self._clock()
            await self._round([(one, one.begin(now, is_look=is_look)) for one in part], now)
            if is_look:
                for one in part:
                    if one.is_idle(self._clock()):
                        self._in_use.pop(one.key, None)

    async def _keep_trying(self) -> None:
        while goes_on():
            await pause(RETRY_SECONDS)
            part = [one for one in self._away.values() if not one.is_asked]
            if not part:
                continue
            try:
                now = self._clock()
                await self._round([(one, one.begin_again(now)) for one in part], now)
            except Exception:  # noqa: BLE001  # the listener logs it
                self._on_bug()

    async def _give_back(self) -> None:
        now = self._clock()
        allotments = [one for one in self._in_use.values() if not (one.is_asked or one.is_away)]
        await self._round([(one, one.begin_last(now)) for one in allotments], now)

    async def _round(
        self, asked: Sequence[tuple[Allotment, Mapping[Limit, Ask]]], now: float
    ) -> None:
        """Ask for several keys at once, and hand each its answer."""
        asked = [(one, asks) for one, asks in asked if asks]
        if not asked:
            return
        told: Sequence[Mapping[Limit, Drawn] | DrawFailed] = ()
        try:
            told = await self._books.draw([Order(one.key, asks) for one, asks in asked])
        finally:
            later = self._clock()
            for number, (one, asks) in enumerate(asked):
                reply = told[number] if told else None  # without any, nobody knows what was booked
                failure = reply if isinstance(reply, DrawFailed) else None
                one.end(asks, None if isinstance(reply, DrawFailed) else reply, now, later)
                self._note(one, failure)

    def _note(self, allotment: Allotment, failure: DrawFailed | None) -> None:
        if allotment.is_away:
            self._leave(allotment)
        else:
            self._away.pop(allotment.key, None)
        if failure is not None:
            self._events.draw_failed()
            if not self._is_told:
                self._is_told = True
                self._events.limits_changed(failure)
        elif self._is_told and not self._away:
            self._is_told = False
            self._events.limits_changed(None)

    def _leave(self, allotment: Allotment) -> None:
        """Have the other task ask for it, and this one no more."""
        self._due.pop(allotment.key, None)
        self._away[allotment.key] = allotment
