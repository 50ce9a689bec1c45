"""One cascade between this process and all others that serve it: reports out, standings in, and for
one of them the controller in between.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from gateway.steering.aim import Aim
from gateway.steering.config import SteeredConfig
from gateway.steering.orders import Entry, Order, Orders
from gateway.steering.state import SCHEMA_VERSION, State, report_from, said_of, state_from
from gateway.steering.steered import Steered, World
from gateway.stores.objective_store import FIRST, Asking, Change, ObjectiveStore, Ordered, Seen
from routing.errors import PolicyError
from routing.steering import Controller, Report, Standing

# Reports that wait for the store, some minutes of them; the oldest are lost first.
MOST_WAITING = 1_200
# So many are taken up at a time.
MOST_TAKEN = 500
# Without a word from a controller for so long, its place is taken whatever it held to.
STALE_SECONDS = 30.0


class SteeringEvents(Protocol):
    """Who hears what becomes of standings."""

    def standing_taken(self, cascade: str, standing: Standing) -> None:
        """This holds here from now on."""

    def controller_shown(self, cascade: str, shown: Mapping[str, Any]) -> None:
        """How the controller of a cascade sees it."""

    def regression_found(self, cascade: str, alarm: Mapping[str, Any]) -> None:
        """The student got worse."""

    def controller_changed(self, cascade: str, replica: str | None) -> None:
        """Another replica steers; None: nobody does."""

    def steering_state_refused(self, cascade: str, why: str) -> None:
        """A state is no use, and ``why``: what holds stays."""

    def cap_left(self, cascade: str, pico: float | None) -> None:
        """So much of a hard cap may be spent here at once; None: there is no cap."""

    def reports_lost(self, cascade: str, count: int) -> None:
        """So many reports are gone: the store was away for too long."""

    def objective_ordered(
        self, cascade: str, version: int, objective: Mapping[str, Any] | None, key: str | None
    ) -> None:
        """Whoever has that key had the cascade held to something else; None: to its file again."""


@dataclass(slots=True)
class Link:
    """What one cascade is held to here.

    ``aim`` says what the controller, should it be this one, is to hold to: it is asked again and
    again, because the student may become another, and the objective too, by ``orders``; ``allows``
    raises ConfigError for one that the cascade cannot be held to.  ``state`` is the newest that is
    known, with the bytes that it was read from.
    """

    cascade: str
    steered: Steered
    aim: Callable[[], Aim]
    events: SteeringEvents
    here: World
    orders: Orders = field(default_factory=Orders)
    allows: Callable[[SteeredConfig], None] = lambda _: None
    state: State | None = None
    content: bytes = b""
    owner: str | None = None
    seen_at: float = 0.0
    _controller: Controller | None = None
    _held: str = ""
    _waiting: deque[bytes] = field(default_factory=deque)
    _told_at: float | None = None
    _alarmed_at: float | None = None
    _behind: float = 0.0  # how far this machine's clock is behind that of the store

    @property
    def waiting(self) -> int:
        """How many reports wait for the store."""
        return len(self._waiting)

    @property
    def is_controller(self) -> bool:
        """Whether this process steers the cascade."""
        return self.owner == self.here.replica

    def start(self, saved: bytes | None, order: bytes | None = None) -> None:
        """Begin with what was saved, as far as that is of the same student."""
        if order is not None:
            self.obey(order)
        self.steered.check()
        state = None if saved is None else self._read(saved)
        if state is not None and saved is not None:
            self._take(state, saved)
            self._refresh()

    async def round(self, store: ObjectiveStore, now: float) -> None:
        """Report, look what holds, and steer where that is for this process to do.

        Raises StoreFailed: what holds stays, and what was to be reported waits.
        """
        self._collect(now)
        while self._waiting:
            await store.tell(self.cascade, self._waiting[0])
            self._waiting.popleft()
        known = 0 if self.state is None else self.state.revision
        asking = Asking(self.here.replica, known, self.orders.version, self._may_lead(now))
        seen = await store.look(self.cascade, asking)
        self._behind = seen.now - now
        await self._agree(store, seen)
        if seen.owner != self.owner:
            self.owner = seen.owner
            self.events.controller_changed(self.cascade, seen.owner)
        if seen.state is not None and seen.revision > known:
            state = self._read(seen.state)
            if state is not None:
                self._controller = None  # somebody else wrote it
                self._take(state, seen.state)
        self.seen_at = now
        if self.is_controller:
            await self._steer(store, seen.revision, seen.now)
        elif self.state is not None and seen.revision < self.state.revision:
            # Whoever steers by now may have begun with what the store has forgotten.
            await store.restore(self.cascade, self.state.revision, self.content)
        self._refresh()

    def round_alone(self, now: float) -> bytes:
        """The same without a store: this process has all that there is; gives what to save."""
        self._collect(now)
        reports = [report_from(content) for content in self._waiting]
        self._waiting.clear()
        self.owner, self.seen_at = self.here.replica, now
        state = self._advanced(reports, now, FIRST)
        content = msgspec.json.encode(state)
        self._take(state, content)
        self._refresh()
        return content

    def obey(self, content: bytes) -> None:
        """An order that was saved, or came from the store, holds unless a later one does."""
        try:
            is_news = self.orders.take(content)
        except ValueError as error:
            self.events.steering_state_refused(self.cascade, f"an order: {error}")
            return
        if is_news:
            latest = self.orders.latest
            self.events.objective_ordered(self.cascade, latest.version, latest.objective, latest.by)

    async def _agree(self, store: ObjectiveStore, seen: Seen) -> None:
        """Follow what was ordered; a store that has forgotten the latest order is told again."""
        if seen.order is not None and seen.version > self.orders.version:
            self.obey(seen.order)
        elif seen.version < self.orders.version:
            order, entry = self.orders.again()
            await store.order(self.cascade, seen.version, ordered(order, entry))

    def _collect(self, now: float) -> None:
        """One more report, whether or not anything happened: it says that this replica lives."""
        seconds = 1.0 if self._told_at is None else max(now - self._told_at, 1e-3)
        self._told_at = now
        self._waiting.append(msgspec.json.encode(self.steered.report(now + self._behind, seconds)))
        lost = 0
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            lost += 1
        if lost:
            self.events.reports_lost(self.cascade, lost)

    def _may_lead(self, now: float) -> bool:
        """Not where another has the newer order or, as it began later, the newer file."""
        state = self.state
        if state is None or state.aim == self.aim().digest:
            return True
        if state.version != self.orders.version:
            return self.orders.version > state.version
        return self.here.since >= state.since or now + self._behind - state.at > STALE_SECONDS

    async def _steer(self, store: ObjectiveStore, revision: int, now: float) -> None:
        """Take up what was reported, and have the outcome hold for all."""
        # A store that was emptied, or that went back, has forgotten which reports were taken up:
        # controllers know those that come twice.
        is_back = self.state is None or revision < self.state.revision
        cursor = FIRST if self.state is None or is_back else self.state.cursor
        entries = await store.reports(self.cascade, cursor, MOST_TAKEN)
        reports = []
        for _, content in entries:
            try:
                reports.append(report_from(content))
            except ValueError as error:
                self.events.steering_state_refused(self.cascade, f"a report: {error}")
        cursor = entries[-1][0] if entries else cursor
        state = self._advanced(reports, now, cursor)
        written = msgspec.json.encode(state)
        change = Change(self.here.replica, revision, state.revision, written, cursor)
        if await store.write(self.cascade, change):
            self._take(state, written)
        else:
            self._controller = None  # another steers by now: look again

    def _advanced(self, reports: Sequence[Report], now: float, cursor: str) -> State:
        aim = self.aim()
        controller = self._controller
        if controller is None or self._held != aim.digest:
            controller = self._resumed(aim)
        controller = controller.advance(reports, now)
        self._controller, self._held = controller, aim.digest
        return State(
            schema_version=SCHEMA_VERSION,
            revision=(0 if self.state is None else self.state.revision) + 1,
            aim=aim.digest,
            subject=aim.subject,
            version=self.orders.version,
            replica=self.here.replica,
            since=self.here.since,
            at=now,
            cursor=cursor,
            said=said_of(controller.standing),
            document=msgspec.Raw(msgspec.json.encode(controller.document())),
            shown=msgspec.Raw(msgspec.json.encode(controller.shown())),
        )

    def _resumed(self, aim: Aim) -> Controller:
        """Go on where the last controller was, with what of it counts for this aim too."""
        state = self.state
        if state is None:
            return aim.begin(0)
        try:
            return aim.resume(msgspec.json.decode(state.document))
        except PolicyError as error:
            if state.aim == aim.digest:
                self.events.steering_state_refused(self.cascade, str(error))
        return aim.begin(state.said.revision)

    def _read(self, content: bytes) -> State | None:
        try:
            return state_from(content)
        except ValueError as error:
            self.events.steering_state_refused(self.cascade, str(error))
            return None

    def _take(self, state: State, content: bytes) -> None:
        self.state, self.content = state, content

    def _refresh(self) -> None:
        """Follow the newest state, where it is about the student that serves here.

        It is followed also where nothing is new: this replica's part of a cap wants confirming.
        """
        state, aim = self.state, self.aim()
        if state is None or state.subject != aim.subject:
            self.steered.check()
            return
        standing = state.standing
        before = self.steered.subject, self.steered.standing.revision
        is_news = before != (aim.subject, standing.revision)
        self.steered.follow(standing, aim.subject)
        self.events.cap_left(self.cascade, self.steered.cap_left)
        if is_news:
            self.events.standing_taken(self.cascade, standing)
        self._tell(msgspec.json.decode(state.shown))

    def _tell(self, shown: Mapping[str, Any]) -> None:
        """Have the metrics show how it stands, and the log every regression that is new."""
        self.events.controller_shown(self.cascade, shown)
        alarms = shown.get("alarms") or ()
        latest = max((alarm["at"] for alarm in alarms), default=0.0)
        if self._alarmed_at is not None:
            for alarm in alarms:
                if alarm["at"] > self._alarmed_at:
                    self.events.regression_found(self.cascade, alarm)
        self._alarmed_at = latest


def ordered(order: Order, entry: Entry) -> Ordered:
    """An order as the store takes it."""
    return Ordered(order.version, msgspec.json.encode(order), msgspec.json.encode(entry))
