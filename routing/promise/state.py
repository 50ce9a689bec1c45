"""How a promise stands, and how that changes with every report.

It gathers merits for its levels, escalates everything until enough is proven, keeps what is
certified, and watches.  An alarm ends all that at once, and the promise is earned again; so does
evidence that is beyond hope.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from routing.promise.clusters import Cluster
from routing.promise.detector import BOOST
from routing.promise.epoch import Epoch, delta_of, epoch_with, new_epoch
from routing.promise.grid import grid_of
from routing.promise.terms import Terms
from routing.promise.watch import Watch, losses_of, new_watch
from routing.steering import KEEP_NOTHING, Grade, Report

# The merits of so many requests make the levels; their labels are for nothing.  With five times as
# many, the first 20,000 requests of a strong student cost a tenth more.
GATHERED = 200
# Many requests alike make few levels, and with too few of them little can ever be kept: then more
# merits are waited for, up to a bound, for some students know no others.
LEAST_LEVELS, MOST_GATHERED = 5, 1_000
# A replica that was silent for so long is forgotten: its numbers do not come back.
SILENT_SECONDS = 86_400.0
# The audit probability stays while it is off by less than this: it follows the kept share.
AUDIT_STEP = 0.1
MOST_ALARMS = 20


@dataclass(frozen=True, slots=True)
class Alarm:
    """When, in seconds since 1970, which test said that the student got worse.

    ``threshold`` was in force then, in that epoch.
    """

    at: float
    which: str
    epoch: int
    threshold: float


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of one promise.  ``epoch`` is None while its levels are gathered.

    ``seen`` has by replica its last sequence, and when that came.  ``number`` is that of the epoch,
    or of the gathering, never above the revision, so that none ever comes again; ``attempt`` counts
    the epochs in which this promise was to be earned, from 1.  ``alarms`` has the last ones;
    ``alarm_count``, ``judged`` and ``audited_pico`` are of all since it began.
    """

    terms: Terms
    revision: int
    number: int
    attempt: int = 1
    epoch: Epoch | None = None
    merits: tuple[float, ...] = ()
    watch: Watch | None = None
    seen: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()
    alarm_count: int = 0
    judged: int = 0
    audited_pico: int = 0
    audit: float = 0.0

    @property
    def threshold(self) -> float:
        """The least merit that is kept."""
        epoch = self.epoch
        if epoch is None or epoch.in_force < 0:
            return KEEP_NOTHING
        return epoch.grid.thresholds[epoch.in_force]

    def after(self, reports: Sequence[Report], now: float) -> "State":
        """After these reports, in this order, at a time in seconds since 1970."""
        # All times are those of the controller: replicas' clocks may be wrong.
        news, seen = [], dict(self.seen)
        for report in reports:
            if seen.get(report.replica, (0, 0.0))[0] < report.sequence:
                seen[report.replica] = (report.sequence, now)
                news.append(report)
        state = replace(
            self,
            seen=_remembered(seen, now),
            judged=self.judged + sum(report.judged for report in news),
            audited_pico=self.audited_pico + sum(report.audited_pico for report in news),
        )
        while news and state.epoch is None:
            state = state._gathered([sample.merit for sample in news.pop(0).samples])
        state = state._served(news, now)._closed(now)._looked()
        return state._alarmed(now)._renewed()._settled(self)

    def _served(self, reports: Sequence[Report], now: float) -> "State":
        """After all of these at once: what is known of conversations is a lot to copy."""
        if self.epoch is None or not reports:
            return self
        epoch = self.epoch.served(reports, now)
        told = [grade for report in reports for grade in report.grades]
        grades = [grade for grade in told if grade.epoch == self.number]
        return replace(self, epoch=epoch.learned(grades, self.terms, now))._watched(grades, ())

    def _gathered(self, merits: Sequence[float]) -> "State":
        """Collect merits; with enough of them the levels are made, and an epoch begins."""
        merits = (*self.merits, *merits)[:MOST_GATHERED]
        if len(merits) < GATHERED:
            return replace(self, merits=merits)
        grid = grid_of(merits)
        if len(grid.thresholds) < LEAST_LEVELS and len(merits) < MOST_GATHERED:
            return replace(self, merits=merits)
        number = self.number + 1  # grades of the drafts that made the levels do not count
        epoch = new_epoch(grid, delta_of(self.terms.delta, self.attempt))
        return replace(self, merits=(), number=number, epoch=epoch)

    def _closed(self, now: float) -> "State":
        if self.epoch is None:
            return self
        epoch, over = self.epoch.closed(self.terms, now)
        return replace(self, epoch=epoch)._watched((), over)

    def _watched(self, grades: Sequence[Grade], over: Sequence[Cluster]) -> "State":
        if self.watch is None or self.epoch is None:
            return self
        losses = losses_of(self.epoch, grades, over)
        return replace(self, watch=self.watch.after(losses, self.terms, self.epoch.judged))

    def _looked(self) -> "State":
        if self.epoch is None:
            return self
        epoch, watch = self.epoch.looked(self.terms), self.watch
        if epoch.in_force >= 0:
            watch = watch or new_watch(epoch, self.terms)
            watch = watch.at(epoch.in_force, epoch.counts)
        return replace(self, epoch=epoch, watch=watch)

    def _alarmed(self, now: float) -> "State":
        """The last safe place is the teacher: all evidence is void, and the promise begins anew."""
        if self.epoch is None or self.watch is None:
            return self
        which = self.watch.alarm(self.terms, self.epoch.share(self.epoch.in_force))
        if which is None:
            return self
        alarm = Alarm(now, which, self.number, self.threshold)
        return replace(
            self._anew(),
            alarms=(*self.alarms, alarm)[-MOST_ALARMS:],
            alarm_count=self.alarm_count + 1,
        )

    def _renewed(self) -> "State":
        """Begin anew where nothing can be proven any more: the student may be better by now."""
        if self.epoch is None or not self.epoch.is_hopeless:
            return self
        return self._anew()

    def _anew(self) -> "State":
        return replace(
            self, number=self.number + 1, attempt=self.attempt + 1, epoch=None, watch=None,
            merits=(),
        )  # fmt: skip

    def _settled(self, before: "State") -> "State":
        """The same with its audit probability; its revision grows where anything else holds now."""
        state = replace(self, audit=self._audit())
        is_same = (state.number, state.threshold, state.audit) == (
            before.number,
            before.threshold,
            before.audit,
        )
        return state if is_same else replace(state, revision=before.revision + 1)

    def _audit(self) -> float:
        """So many audits per *request*, whatever is kept: a regression is then found as fast."""
        epoch, watch = self.epoch, self.watch
        if epoch is None or watch is None or epoch.in_force < 0:
            return 0.0
        boost = BOOST if watch.is_boosted(self.terms) else 1.0
        share = max(epoch.share(epoch.in_force), self.terms.audit_share)
        wanted = min(1.0, boost * self.terms.audit_share / share)
        is_close = self.audit and abs(wanted - self.audit) <= AUDIT_STEP * self.audit
        return self.audit if is_close else wanted


def new_state(terms: Terms, revision: int = 0) -> State:
    """A promise of which nothing is proven yet, but by a head start; of the next revision.

    Its number is new, too: no grade that another promise asked for is one of this.
    """
    state = State(terms, revision + 1, number=revision + 1)
    if terms.head_start is None:
        return state
    state = replace(state, epoch=epoch_with(terms.head_start, terms))._looked()
    return replace(state, audit=state._audit())


def _remembered(
    seen: Mapping[str, tuple[int, float]], now: float
) -> Mapping[str, tuple[int, float]]:
    if all(now - at < SILENT_SECONDS for _, at in seen.values()):
        return seen
    return {replica: last for replica, last in seen.items() if now - last[1] < SILENT_SECONDS}
