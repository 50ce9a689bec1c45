"""One steered cascade in this process: what is in force here, and what is collected to report."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from gateway.answer import Cascade
from gateway.audits.purse import Purse
from gateway.ports import Clock
from gateway.steering.aim import Aim
from gateway.steering.config import QualityConfig, needs_turns
from routing.cap import CapBucket
from routing.conversation import NOTHING_SAID, Talk
from routing.money import Price, Usage
from routing.pressure import eased
from routing.steering import KEEP_NOTHING, Grade, Report, Sample, Standing
from routing.vocabulary import Role, Threshold

# A report holds so much; beyond that samples are drawn from all, and grades are lost.
MOST_SAMPLES = 200
MOST_GRADES = 10_000
# Thresholds of single requests come in steps, for each of which a policy is kept.
STEPS = 256
MOST_POLICIES = 2 * STEPS
# What an escalation costs is learnt from the last so many.
MEMORY = 50.0
FIRST_OUTPUT_TOKENS = 256
BYTES_PER_TOKEN = 4.0


class _Serving(Protocol):
    @property
    def cascade(self) -> Cascade: ...


S = TypeVar("S", bound=_Serving)


class Costs:
    """What an escalation is expected to cost: by the length of the request, by what of it the
    teacher has in its cache, and by the usual answer.  ``price`` is the teacher's."""

    def __init__(self, price: Price | None) -> None:
        self.price = price
        self._seen = 0
        self._output = float(FIRST_OUTPUT_TOKENS)
        self._bytes_per_token = BYTES_PER_TOKEN
        self._pico: float | None = None

    def expected(self, size: int, talk: Talk = NOTHING_SAID) -> int | None:
        """In pico-dollars, of a request of so many bytes that goes on with this conversation.

        None where nobody knows.
        """
        read, written = int(size / self._bytes_per_token), int(self._output)
        found = talk.cost(Role.TEACHER, read, written, self.price)
        if found is None and self._pico is not None:
            return int(self._pico)
        return found

    def learn(self, size: int, usage: Usage | None, pico: int | None) -> None:
        """An escalation of a request of so many bytes took this."""
        self._seen += 1
        weight = 1.0 / min(self._seen, MEMORY)
        if usage is not None:
            self._output += weight * (usage.output - self._output)
            if usage.input:
                self._bytes_per_token += weight * (size / usage.input - self._bytes_per_token)
        if pico is not None:
            self._pico = pico if self._pico is None else self._pico + weight * (pico - self._pico)


@dataclass(slots=True)
class Portion:
    """What one escalation is expected to cost, and how much of that was taken out of a bucket."""

    bucket: CapBucket
    pico: int
    clock: Clock
    taken: int = 0

    def take(self) -> bool:
        """Take it, once; False where there is not as much."""
        if not self.taken and self.bucket.may_spend(self.pico, self.clock()):
            self.taken = max(self.pico, 1)
        return bool(self.taken)


@dataclass(frozen=True, slots=True)
class World:
    """Which process this is, since when, in seconds since 1970; its steady clock, and a dice that
    falls evenly in [0, 1)."""

    replica: str
    since: float
    clock: Clock
    dice: Callable[[], float]


class Steered:
    """A cascade that a controller holds to an objective.

    ``standing`` is what is in force, for the student of ``subject``; ``is_promise``: it is of a
    promise, which counts conversations; ``needs_turns``: it matters which one a request goes on
    with.  ``audited_pico`` is what audits took since the process began.  Under the teacher's
    ``pressure``, in [0, 1], the threshold of a rate or spend gives way; a promise's cannot, for
    less merit was never certified.  ``pressed_by`` says what that rests on.
    """

    def __init__(self, aim: Callable[[], Aim], costs: Costs, purse: Purse, world: World) -> None:
        """``aim`` says what the cascade is held to now, and for which student."""
        self.costs = costs
        self.audited_pico = 0
        self.pressure, self.pressed_by = 0.0, ""
        self._aim = aim
        self._purse = purse
        self._world = world
        self._clock = world.clock
        self._bucket: CapBucket | None = None
        self._base: object = None
        self._steps: dict[float, Any] = {}
        self._sequence = 0
        self._clear()
        first = aim()
        self.follow(first.first, first.subject)

    def check(self) -> None:
        """Another student may serve by now: of it nothing is known until the controller has it."""
        aim = self._aim()
        if aim.subject != self.subject:
            self.follow(aim.first, aim.subject)

    def follow(self, standing: Standing, subject: str) -> None:
        """Have this hold for all requests to that student that come from now on."""
        self.standing, self.subject = standing, subject
        objective = self._aim().objective
        self.is_promise = isinstance(objective, QualityConfig)
        self.needs_turns = needs_turns(objective, self.costs.price)
        if standing.cap_pico is None:
            self._bucket = None
            return
        if self._bucket is None:
            self._bucket = CapBucket(standing.cap_pico)
        part = standing.shares.get(self._world.replica)
        self._bucket.agree(standing.cap_pico, part, self._clock())

    def applied(self, served: S, cost_pico: int | None) -> S:
        """Whatever serves, as the standing has it answer a request whose escalation costs so much.

        Made once for each policy: to make it anew for each request would cost more than all else
        that steering takes of it.
        """
        if served is not self._base:
            self._base, self._steps = served, {}
        standing = self.standing
        least = standing.threshold
        if standing.per_usd is not None:
            least = standing.least_merit(cost_pico)
        least = self._eased(least)
        if least is not standing.threshold and least != KEEP_NOTHING:
            least = round(least * STEPS) / STEPS
        found: S | None = self._steps.get(least)
        if found is None:
            if len(self._steps) >= MOST_POLICIES:
                self._steps.clear()
            policy = served.cascade.policy.with_threshold(Threshold(least))
            cascade = replace(served.cascade, policy=policy)
            found = self._steps[least] = replace(served, cascade=cascade)  # type: ignore[type-var]
        return found

    @property
    def threshold(self) -> float:
        """The standing's, at the price for which it is one, as it holds under the pressure."""
        return self._eased(self.standing.threshold)

    def _eased(self, threshold: float) -> float:
        if not self.pressure or self.is_promise:
            return threshold
        return eased(threshold, self.pressure, floor=0.0)

    # --- money

    def spending(self, cost_pico: int | None) -> "Portion | None":
        """What an escalation that costs so much takes of the cap; None without a cap."""
        if self._bucket is None:
            return None
        return Portion(self._bucket, cost_pico or 0, self._clock)

    @property
    def cap_left(self) -> float | None:
        """What may be spent on the teacher at once, in pico-dollars; None without a cap."""
        return None if self._bucket is None else self._bucket.level

    def may_audit(self) -> bool:
        """Whether the budget of audits has anything left."""
        return self._purse.has_money

    def audit_spent(self, pico: int) -> None:
        """An audit is over, and took so much."""
        self._purse.pay(pico)
        self._audited_pico += pico
        self.audited_pico += pico
        self._spend(pico)

    def _spend(self, pico: int, estimate: int = 0) -> None:
        self._spent_pico += pico
        if self._bucket is not None and (pico or estimate):
            self._bucket.spent(pico, estimate, self._clock())

    # --- what is told

    def grade(self, grade: Grade) -> None:
        """Something is known of a draft."""
        if len(self._grades) < MOST_GRADES:
            self._grades.append(grade)

    def answered(
        self, sample: Sample | None, conversation: str | None, *, is_mute: bool = False
    ) -> None:
        """A request was judged by its draft's merit, or without one; ``is_mute``: of it no grade
        can come, and that was known before."""
        if sample is None:
            self._forced += 1
            return
        self._judged += 1
        self._mute += is_mute
        if conversation is not None and not is_mute:
            self._turns[conversation] = self._turns.get(conversation, 0) + 1
        if len(self._samples) < MOST_SAMPLES:
            self._samples.append(sample)
        elif (place := int(self._world.dice() * self._judged)) < MOST_SAMPLES:
            self._samples[place] = sample

    def paid(self, pico: int, escalated_pico: int, estimate: int) -> None:
        """A request cost so much, of that the teacher so much, for which that was taken before."""
        self._escalated_pico += escalated_pico
        self._spend(pico, estimate)

    def ended(self, *, is_escalated: bool, is_denied: bool) -> None:
        """How a request that was answered ended."""
        self._escalated += is_escalated
        self._denied += is_denied

    def report(self, at: float, seconds: float) -> Report:
        """All that was collected since the last one."""
        self._sequence += 1
        found = Report(
            replica=self._world.replica,
            sequence=self._sequence,
            at=at,
            seconds=seconds,
            judged=self._judged,
            forced=self._forced,
            escalated=self._escalated,
            denied=self._denied,
            spent_pico=self._spent_pico,
            escalated_pico=self._escalated_pico,
            audited_pico=self._audited_pico,
            samples=self._samples,
            grades=self._grades,
            turns=self._turns,
            mute=self._mute,
        )
        self._clear()
        return found

    def _clear(self) -> None:
        self._judged = self._forced = self._escalated = self._denied = self._mute = 0
        self._spent_pico = self._escalated_pico = self._audited_pico = 0
        self._samples: list[Sample] = []
        self._grades: list[Grade] = []
        self._turns: dict[str, int] = {}
