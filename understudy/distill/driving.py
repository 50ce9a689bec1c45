"""Takes a candidate through its trials, and back where it must; what it decides by is elsewhere.

While it lives it renews ``until``.  Where it is killed, or Redis is away for longer than the lease,
gateways leave the candidate alone by themselves.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from redis.exceptions import RedisError

from distill.generations import NoStep, Reason, begun, ended, promoted, renewed, told, widened
from distill.replicas import (
    Baseline,
    Heartbeats,
    alive,
    behind,
    forgotten,
    refusal,
)
from distill.rollouts import Back, Go, Plan, Trial, decide, findings_of
from routing.rollout import Generation, Generations, Rollout, Stage
from understudy.distill.narrating import Narrator, Seen
from understudy.distill.registry import LostRace, Registry
from understudy.distill.retiring import settle
from understudy.distill.settling import POLL_SECONDS, TAKE_UP_SECONDS, Stopped, World
from understudy.telling import INTERRUPTED, CommandError, words_of_redis

DONE, BACK = 0, 1
_T = TypeVar("_T")


class Overtaken(Exception):
    """The state is no longer this rollout's; the message says whose."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done, for whom, and how long gateways go on without another word."""

    candidate: Generation
    plan: Plan
    who: str
    why: str
    key: str | None = None
    lease_seconds: float = 60.0


def check_free(state: Generations | None, now: float) -> None:
    """See that no candidate is being tried.  Raises CommandError."""
    if state is not None and state.rollout is not None and state.rollout.is_running(now):
        raise CommandError(
            f"the candidate {state.rollout.candidate.version} is being tried: {told(state.last)}: "
            "wait for it, or end it with `understudy distill rollback`"
        )


@dataclass(slots=True)
class Promotion:
    """One candidate's way in: ``begin`` it, then ``finish`` it, once."""

    registry: Registry
    errand: Errand
    world: World
    narrator: Narrator
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    _revision: int = 0
    _previous: Generation | None = None
    _why: str = ""
    _gone: list[str] = field(default_factory=list)
    _is_away: bool = False
    _is_ending: bool = False

    def begin(self) -> None:
        """Let the candidate into the shadow.

        Raises CommandError where nobody would take that up, and RedisError where Redis is away.
        """
        self._begin(self._ready(), self.errand.plan.trials[0])

    def finish(self) -> int:
        """Take it through all trials; the exit status: promoted, sent back, or interrupted."""
        try:
            for trial in self.errand.plan.trials:
                if trial.stage is Stage.CANARY:
                    self._widen(trial)
                decision = self._taken_up() or self._watch(trial)
                if isinstance(decision, Back):
                    return self._go_back(decision.why)
                self._why = decision.why
            return self._promote()
        except Stopped:
            self._go_back("the command was interrupted")
            return INTERRUPTED
        except Overtaken as overtaken:
            self.narrator.note("overtaken", str(overtaken))
            return BACK

    # --- the start --------------------------------------------------------------------------

    def _ready(self) -> Generations | None:
        """The state to start from.  Raises CommandError where nobody would take a step up."""
        now = self.world.clock()
        heartbeats = self.registry.heartbeats()
        state = self._without_dead_rollout(self.registry.state(), now)
        live = alive(heartbeats, now)
        if not live:
            ages = [now - one.at for one in heartbeats.values()]
            newest = f"the newest was heard of {min(ages):,.0f} s ago" if ages else "none ever was"
            raise CommandError(
                f"no gateway of {self.registry.cascade} is alive in this Redis: {newest}: is it "
                "the gateways' Redis, do they know this cascade, do their clocks and this one agree"
            )
        if (refused := refusal(live)) is not None:
            raise CommandError(f"a gateway refuses the state that is there already: {refused}")
        self.registry.forget(forgotten(heartbeats, now))
        return state

    def _without_dead_rollout(self, state: Generations | None, now: float) -> Generations | None:
        """End a rollout whose command is gone; gateways have left its candidate alone since."""
        if state is None or state.rollout is None:
            return state
        check_free(state, now)
        version = state.rollout.candidate.version
        after = ended(state, self._reason(f"nobody watched {version} any more"))
        try:
            self.registry.write_step(state, after)
        except LostRace as error:
            raise CommandError(str(error)) from None
        self._gone.append(version)  # its adapter, where it has one, is unloaded at the end
        self.narrator.step(after)
        return after

    def _begin(self, state: Generations | None, trial: Trial) -> None:
        rollout = Rollout(
            id=self.id,
            candidate=self.errand.candidate,
            stage=trial.stage,
            share=trial.share,
            holdout=self.errand.plan.holdout,
            until=self._until(),
        )
        try:
            after = begun(state, rollout, self._reason(self.errand.why))
            self.registry.write_step(state, after)
        except (NoStep, LostRace) as error:
            raise CommandError(str(error)) from None
        self._revision = after.revision
        self._previous = after.previous
        self.narrator.step(after)

    # --- one trial --------------------------------------------------------------------------

    def _widen(self, trial: Trial) -> None:
        why = f"{trial.share:.0%} of the sessions, after {self._why}"
        self._step(lambda state: widened(state, trial.share, self._until(), self._reason(why)))

    def _taken_up(self) -> Back | None:
        """Wait until all replicas have the step: what they count before is of no trial."""
        since = self.world.clock()
        while True:
            live = self._poll()[1]
            if (refused := refusal(live)) is not None:
                return Back(f"a gateway refuses it: {refused}")
            late = behind(live, self._revision)
            if live and not late:
                return None
            if self.world.clock() - since >= TAKE_UP_SECONDS:
                who = ", ".join(late) or "no gateway is alive"
                return Back(f"not taken up within {TAKE_UP_SECONDS:g} s: {who}")
            self._wait()

    def _watch(self, trial: Trial) -> Go | Back:
        """Look at the counts until they say what to do."""
        plan, since = self.errand.plan, self.world.clock()
        baseline = Baseline(self.id, self._poll()[0])
        while True:
            heartbeats, live = self._poll()
            seconds = self.world.clock() - since
            if (refused := refusal(live)) is not None:
                return Back(f"a gateway refuses it: {refused}")
            tallies = baseline.since(heartbeats)
            decision = decide(plan, trial, tallies, seconds)
            findings = findings_of(plan, trial, tallies)
            self._report(Seen(self.id, trial, seconds, plan, findings, decision, tallies))
            if isinstance(decision, Go | Back):
                return decision
            self._wait()

    def _report(self, seen: Seen) -> None:
        self.narrator.seen(seen)
        told = seen.document() | {"at": self.world.clock()}
        self._persist(lambda: self.registry.report(told))

    # --- the end ----------------------------------------------------------------------------

    def _promote(self) -> int:
        after = self._step(lambda state: promoted(state, self._reason(self._why)))
        self._is_ending = True
        if self._previous is not None:
            self._gone.append(self._previous.version)
        self._settle(after, self._gone)
        return DONE

    def _go_back(self, why: str) -> int:
        self._is_ending = True
        try:
            after = self._step(lambda state: ended(state, self._reason(why)))
        except Overtaken as overtaken:
            self.narrator.note("overtaken", str(overtaken))
            return BACK
        self._settle(after, [*self._gone, self.errand.candidate.version])
        return BACK

    def _settle(self, state: Generations, gone: Sequence[str]) -> None:
        """Wait until nobody uses what is gone, and unload it."""
        told = self._persist(
            lambda: settle(self.registry, state, gone, self.errand.key, self.world)
        )
        for kind, line in told:
            self.narrator.note(kind, line)

    # --- what all of it needs ---------------------------------------------------------------

    def _step(self, make: Callable[[Generations], Generations]) -> Generations:
        """Write a step, however often Redis goes away.  Raises Overtaken."""
        intended: Generations | None = None

        def attempt() -> Generations:
            nonlocal intended
            current = self.registry.state()
            if intended is not None and current is not None and current.last == intended.last:
                return intended  # it was written, and its answer was lost
            intended = make(self._mine(current))
            try:
                self.registry.write_step(current, intended)
            except LostRace:
                self._mine(self.registry.state())
                raise Overtaken("somebody else writes to this cascade's state") from None
            return intended

        after = self._persist(attempt)
        self._revision = after.revision
        self.narrator.step(after)
        return after

    def _poll(self) -> tuple[Heartbeats, Heartbeats]:
        """Say that somebody watches; all that replicas say, and those of them that are alive."""

        def attempt() -> Heartbeats:
            state = self._mine(self.registry.state())
            until = 0.0 if state.rollout is None else state.rollout.until
            if until - self.world.clock() < self.errand.lease_seconds * 2 / 3:
                try:
                    self.registry.renew(renewed(state, self._until()))
                except LostRace:
                    self._mine(self.registry.state())
            return self.registry.heartbeats()

        heartbeats = self._persist(attempt)
        return heartbeats, alive(heartbeats, self.world.clock())

    def _mine(self, state: Generations | None) -> Generations:
        """The state, if it is still what this rollout made of it.  Raises Overtaken."""
        if state is None:
            raise Overtaken("the state is gone from Redis: is it another Redis, or an older copy?")
        if state.rollout is None or state.rollout.id != self.id:
            raise Overtaken(f"this rollout is over: {told(state.last)}")
        return state

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        """Try until Redis answers.  The candidate's lease ends by itself meanwhile."""
        while True:
            try:
                found = attempt()
            except RedisError as error:
                if not self._is_away:
                    self.narrator.note("away", f"Redis: {words_of_redis(error)}: trying on")
                self._is_away = True
                self._wait()
                continue
            if self._is_away:
                self.narrator.note("back", "Redis answers again")
            self._is_away = False
            return found

    def _wait(self) -> None:
        if self.world.wait(POLL_SECONDS) and not self._is_ending:
            raise Stopped

    def _until(self) -> float:
        return self.world.clock() + self.errand.lease_seconds

    def _reason(self, why: str) -> Reason:
        return Reason(self.errand.who, self.world.clock(), why)
