"""The calls that one request makes to models, and what each of them came to."""

from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct, structs

from gateway.errors import (
    BudgetSpent,
    GatewayError,
    TeacherUnavailable,
    UpstreamError,
    UpstreamRefused,
)
from gateway.facts import ABORTED, CANCELLED, SPARE, Denial, Leg
from gateway.outcomes import LEFT, Outcome, failed, rest_of
from gateway.ports import CallSpan, ChatModel, ChatStream, Clock, PairLog, Spending, Trace, Try
from gateway.renting import Rented, nanoseconds
from gateway.trace_context import UNTRACED
from gateway.tries import Tries
from gateway.wire.chat import Chat, Form, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from gateway.wire.prospect import TRUNCATING
from gateway.wire.received import characters_in
from routing.cascade import Verdict, barred
from routing.gpu_time import GpuLane
from routing.habits import Asked, Habits, Written
from routing.money import NOTHING_USED, Price, Usage, cost_of, share_of
from routing.room import is_too_long
from routing.vocabulary import Degraded, Denied, Grant, Need, NotAsked, Reason, Role

# Looked up for every call: a member of an enum, by way of its class, takes a function's time.
_TEACHER, _VISION = Role.TEACHER, Need.VISION

_WHY_NOT = {
    Degraded.TEACHER_FAILED: NotAsked.LEFT_ALONE,
    Degraded.TEACHER_BUSY: NotAsked.NO_ROOM,
    Degraded.NOT_ALLOWED: NotAsked.NOT_ALLOWED,
    Degraded.BUDGET_SPENT: NotAsked.BUDGET_SPENT,
    Degraded.JOURNAL_FULL: NotAsked.JOURNAL_FULL,
}


@dataclass(frozen=True, slots=True)
class Model:
    """One of a cascade's models: how to ask it and what it costs.

    ``price`` is None where nobody said what its tokens cost; ``rented`` where its GPUs are not paid
    by the hour.  ``habits`` is what its server has taught of its tokens.
    """

    role: Role
    chat: ChatModel
    price: Price | None
    rented: Rented | None = None
    habits: Habits = field(default_factory=Habits)

    @property
    def is_by_time(self) -> bool:
        """Whether a call costs its share of the time, whatever its tokens are."""
        return self.rented is not None and self.rented.is_by_time

    def has_room_for(self, chat: Chat) -> bool:
        """Whether its context may hold a request; False only where it surely does not."""
        room = self.chat.room
        if room is None or TRUNCATING in chat.fields or (asked := _asked_for(chat)) is None:
            return True
        if chat.form is not Form.CHAT:  # it may hold several prompts, each with room of its own
            asked = asked._replace(bytes=0)
        return not is_too_long(room, asked, self.habits)


class Charge(Struct):
    """A call that is under way, since ``started``, at the server of that number.

    What it takes of its server's rent is read from ``lane``, since ``mark``; None where it is not
    on rented GPUs.
    """

    model: Model
    server: int
    started: float
    span: CallSpan
    lane: GpuLane | None = None
    mark: int = 0

    def over(self, now: float, outcome: Outcome) -> Leg:
        """The call as a leg: it is over."""
        taken = 0 if self.lane is None else self.lane.close(nanoseconds(now), self.mark)
        return self._leg(now, outcome, taken)

    def lap(self, now: float, outcome: Outcome) -> Leg:
        """What came of it so far as a leg; it goes on, and the rest will be another."""
        taken = 0
        if self.lane is not None:
            taken, self.mark = self.lane.lap(nanoseconds(now), self.mark)
        leg = self._leg(now, outcome, taken)
        self.started = now
        return leg

    def _leg(self, now: float, outcome: Outcome, taken: int) -> Leg:
        model, usage = self.model, outcome.usage
        if self.lane is None or not model.is_by_time:
            cost = cost_of(usage, model.price)
        else:  # what was never worked on is free, and its time was idle
            cost = 0 if usage is NOTHING_USED else taken
        return Leg(
            model.role,
            usage,
            cost,
            now - self.started,
            outcome.error,
            outcome.detail,
            self.started,
            outcome.is_estimated,
            self.server,
        )


class Legs(Struct):
    """The calls that one request made, in order, those denied to it, and the verdict, once known.

    Kept apart from the answer, because they are facts even where no answer comes of them.
    ``may_escalate`` is what the tenant is allowed; ``due_in`` the log in which an escalation must
    have room, or it is not granted; None where a pair that is lost is only counted.
    ``budget_spent`` is the answer where nothing else can be served and the key may not spend what
    the teacher costs.  What coins say of a draft that would be kept: ``is_drawn``, that it is held
    out; ``is_audit_drawn``, that it is audited.  ``spending`` says whether the cascade may
    spend what an escalation costs; None: nothing limits that.  ``is_probe``: the teacher was left
    alone when it was asked.  ``draft`` is what the teacher was asked instead of.
    """

    clock: Clock
    made: list[Leg] = []
    denied: list[Denial] = []
    verdict: Verdict | None = None
    may_escalate: bool = True
    budget_spent: BudgetSpent | None = None
    due_in: PairLog | None = None
    trace: Trace = UNTRACED
    is_drawn: bool = False
    is_audit_drawn: bool = False
    spending: Spending | None = None
    is_probe: bool = False
    draft: Completion | None = None

    @property
    def is_held_out(self) -> bool:
        """Whether the teacher is to answer although the draft is enough: never where it may not."""
        return self.is_drawn and self.bar is None

    def reserve(self, model: Model) -> Grant:
        """Say whether a model may be asked now; a Granted must be followed by a call."""
        bar = None
        if model.role is _TEACHER:
            bar, self.is_probe = self.bar or self._spent, model.chat.is_left_alone
        grant = bar or model.chat.reserve()
        if isinstance(grant, Denied):
            self.denied.append(Denial(model.role, _WHY_NOT[grant.degraded]))
        self.trace.reserved(model.role, grant)
        return grant

    def nothing_to_serve(self) -> GatewayError:
        """Why the client gets no answer: no model can give one now, or its key cannot pay it."""
        is_student_well = self.verdict is None or self.verdict.reason is not Reason.STUDENT_FAILED
        if self.budget_spent is not None and is_student_well:
            return self.budget_spent
        return TeacherUnavailable("No model could answer this request at the moment.")

    async def ask(self, model: Model, chat: Chat) -> Completion:
        """Ask a model and note what came of each try.  Raises what the last one raised."""
        tries = Tries(model.chat, self.clock, model.chat.server(), self.clock())
        while True:
            charge = self.charge(model, tries)
            how = Try(charge.span.headers, None, tries.spent_seconds)
            try:
                completion = await tries.server.complete(chat, how)
            except UpstreamError as failure:
                self.note(charge, failed(failure))
                if not tries.go_on(failure):
                    raise
            except BaseException as failure:
                self.note(charge, failed(failure) if isinstance(failure, UpstreamRefused) else LEFT)
                raise
            else:
                finish_reasons = [one.finish_reason for one in completion.choices]
                charge.span.answered(completion.body, finish_reasons)
                if completion.usage is not None and _VISION not in chat.needs:
                    characters = characters_in(completion.choices)
                    model.habits.learn(completion.usage, len(chat.body), characters)
                self.note(charge, Outcome(completion.usage))
                return completion

    async def stream(
        self, model: Model, chat: Chat, prefix: Prefix | None = None, until: float | None = None
    ) -> "OpenLeg":
        """Have a model write, and the stream noted once it is closed.  Raises as ``ask`` does.

        It has failed where it has not begun by ``until``, of the running loop's clock.
        """
        opening = Opening(self, model, chat, prefix, until)
        return OpenLeg(self, opening, await opening.begin())

    def tell_apart(self, model: Model, one: Usage, others: Usage) -> None:
        """Note the last call as two: the draft that counts, and those that were written beside it.

        ``one`` and ``others`` are the parts of what it used; time is parted as what they wrote.
        """
        whole = self.made.pop()
        cost, rest = cost_of(one, model.price), cost_of(others, model.price)
        if model.is_by_time and whole.cost_pico is not None:
            cost = share_of(whole.cost_pico, one.output, others.output)
            rest = whole.cost_pico - cost
        spare = structs.replace(whole, usage=others, cost_pico=rest, error=SPARE)
        self.made += [structs.replace(whole, usage=one, cost_pico=cost), spare]

    def note(self, charge: Charge, outcome: Outcome) -> None:
        """Note one call that is over."""
        leg = charge.over(self.clock(), outcome)
        self.made.append(leg)
        charge.span.over(leg)

    def charge(self, model: Model, tries: Tries) -> Charge:
        """Begin to count what a try costs."""
        span = self.trace.call(model.role)
        server, now = tries.server.number, self.clock()
        if model.rented is None:
            return Charge(model, server, now, span)
        lane = model.rented.lanes[server]
        return Charge(model, server, now, span, lane, lane.open(nanoseconds(now)))

    @property
    def _spent(self) -> Denied | None:
        may_spend = self.spending is None or self.spending.take()
        return None if may_spend else Denied(Degraded.BUDGET_SPENT)

    @property
    def bar(self) -> Denied | None:
        """Why the teacher is out of the question for this request; None: it has the next word."""
        has_room, has_budget = self.due_in is None or self.due_in.has_room, not self.budget_spent
        return barred(may_escalate=self.may_escalate, has_room=has_room, has_budget=has_budget)


class Opening:
    """A stream that is asked for: of one server, and of another where that breaks off at once."""

    def __init__(
        self, legs: Legs, model: Model, chat: Chat, prefix: Prefix | None, until: float | None
    ) -> None:
        self._legs = legs
        self._model = model
        self._chat = chat
        self._prefix = prefix
        self._until = until
        self._tries = Tries(model.chat, legs.clock, model.chat.server(), legs.clock())

    @property
    def asked(self) -> Asked | None:
        """What the request's bytes tell of its tokens; None where they tell nothing."""
        return _asked_for(self._chat, self._prefix)

    async def begin(self) -> tuple[Charge, ChatStream]:
        """The stream of the first server that has one.  Raises what the last one raised."""
        while True:
            try:
                return await self._begin_once()
            except UpstreamError as failure:
                if not self._tries.go_on(failure):
                    raise

    async def again(self, failure: UpstreamError) -> tuple[Charge, ChatStream]:
        """The stream that takes the place of one that failed.  Raises ``failure`` without one."""
        if not self._tries.go_on(failure):
            raise failure
        try:
            return await self.begin()
        except UpstreamRefused:  # what one server was about to answer is no mistake of the client's
            raise failure from None

    async def _begin_once(self) -> tuple[Charge, ChatStream]:
        legs, tries = self._legs, self._tries
        charge, outcome = legs.charge(self._model, tries), LEFT
        try:
            how = Try(charge.span.headers, self._until, tries.spent_seconds)
            return charge, await tries.server.stream(self._chat, self._prefix, how)
        except BaseException as failure:
            if isinstance(failure, UpstreamError | UpstreamRefused):
                outcome = failed(failure)
            legs.note(charge, outcome)
            raise


class OpenLeg:
    """A call whose answer is still coming.  ``close`` it: then it is noted, and the server free."""

    def __init__(self, legs: Legs, opening: Opening, begun: tuple[Charge, ChatStream]) -> None:
        self._legs = legs
        self._opening = opening
        self._charge, self._stream = begun
        self._asked = opening.asked
        self._before: Outcome | None = None
        self._is_closed = False
        self._has_spoken = False

    @property
    def usage(self) -> Usage | None:
        """What the call has taken so far; an estimate where the server does not say."""
        return self._used(None).usage

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can come."""
        return self._is_closed

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        """The chunks that came; none at the end; None where none came until then."""
        while True:
            try:
                chunks = await self._stream.read(until)
            except UpstreamError as failure:
                self._end(failure.code, failure.detail())
                if self._has_spoken or self._before is not None:
                    raise
                # Nobody has seen anything of it: another server may take its place.
                self._charge, self._stream = await self._opening.again(failure)
                self._is_closed = False
            else:
                if chunks:
                    self._has_spoken = True
                return chunks

    def close(self, code: str | None = CANCELLED) -> None:
        """End the call.  One that was not over is noted under ``code``, None being a success.

        Only one that was ``CANCELLED`` may count against the server, which was perhaps too slow.
        """
        cause = CancelledError() if code == CANCELLED else None
        self._end(None if self._stream.is_over else code, cause=cause)

    def fail(self, failure: UpstreamError) -> None:
        """End the call for a failure of the server's that its reader found."""
        self._end(failure.code, failure.detail(), cause=failure)

    def hand_on(self, legs: Legs) -> None:
        """Note what came so far as given up; what is still to come will be noted in other legs."""
        span, self._charge.span = self._charge.span, self._charge.span.handed_on()
        self._before = self._used(ABORTED)
        leg = self._charge.lap(self._legs.clock(), self._before)
        self._legs.made.append(leg)
        span.over(leg)
        self._legs = legs

    def _end(
        self, code: str | None, detail: str | None = None, cause: BaseException | None = None
    ) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._stream.close(cause)
            if self._stream.opening:
                finish_reasons = [self._stream.finish_reason]
                self._charge.span.answered(self._stream.opening, finish_reasons)
            outcome = self._used(code, detail)
            if self._stream.is_over:
                self._learn()
            self._legs.note(self._charge, rest_of(outcome, self._before))

    def _used(self, code: str | None, detail: str | None = None) -> Outcome:
        """What the call has taken: in the server's word and, of text after that, by what came.

        What a share of the time costs is known without, and needs no estimate.
        """
        said, received, model = self._stream.usage, self._stream.received, self._charge.model
        is_behind = received.has_begun if said is None else received.characters > 0
        if model.is_by_time or self._asked is None or not is_behind:
            return Outcome(said, code, detail)
        written = Written(received.tokens, received.untold)
        guess = model.habits.estimate(self._asked, written, said)
        return Outcome(guess, code, detail, is_estimated=guess is not None)

    def _learn(self) -> None:
        said, asked = self._stream.usage, self._asked
        if said is not None and asked is not None:
            characters = self._stream.received.whole_characters
            self._charge.model.habits.learn(said, asked.bytes, characters)


def _asked_for(chat: Chat, prefix: Prefix | None = None) -> Asked | None:
    """What tells of the tokens; None where the request holds pictures, whose bytes are no text."""
    if _VISION in chat.needs:
        return None
    stem = b"" if prefix is None else prefix.stem.encode()
    return Asked(len(chat.body) + len(stem), chat.most_tokens)
