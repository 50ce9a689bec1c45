"""The calls that one request makes to models, and what each of them came to."""

from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.errors import UpstreamError, UpstreamRefused
from gateway.facts import ABORTED, CANCELLED, SPARE, Denial, Leg
from gateway.ports import CallSpan, ChatModel, ChatStream, Clock, PairLog, Trace
from gateway.trace_context import UNTRACED
from gateway.wire.chat import Chat, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from routing.cascade import Verdict, barred
from routing.money import NOTHING_USED, Price, Usage, cost_of
from routing.vocabulary import Degraded, Denied, Grant, NotAsked, Role

_WHY_NOT = {
    Degraded.TEACHER_FAILED: NotAsked.LEFT_ALONE,
    Degraded.TEACHER_BUSY: NotAsked.NO_ROOM,
    Degraded.NOT_ALLOWED: NotAsked.NOT_ALLOWED,
    Degraded.JOURNAL_FULL: NotAsked.JOURNAL_FULL,
}


@dataclass(frozen=True, slots=True)
class Model:
    """One of a cascade's models: how to ask it and what it costs (None: nobody said)."""

    role: Role
    chat: ChatModel
    price: Price | None


@dataclass(slots=True)
class Legs:
    """The calls that one request made, in order, those denied to it, and the verdict, once known.

    Kept apart from the answer, because they are facts even where no answer comes of them.
    ``may_escalate`` is what the tenant is allowed; ``due_in`` the log in which an escalation must
    have room, or it is not granted; None where a pair that is lost is only counted.
    ``is_drawn`` is what the coin says: a draft that would be kept is held out.
    """

    clock: Clock
    made: list[Leg] = field(default_factory=list)
    denied: list[Denial] = field(default_factory=list)
    verdict: Verdict | None = None
    may_escalate: bool = True
    due_in: PairLog | None = None
    trace: Trace = UNTRACED
    is_drawn: bool = False

    @property
    def is_held_out(self) -> bool:
        """Whether the teacher is to answer although the draft is enough: never where it may not."""
        return self.is_drawn and self._bar() is None

    def reserve(self, model: Model) -> Grant:
        """Say whether a model may be asked now; a Granted must be followed by a call."""
        bar = self._bar() if model.role is Role.TEACHER else None
        grant = bar or model.chat.reserve()
        if isinstance(grant, Denied):
            self.denied.append(Denial(model.role, _WHY_NOT[grant.degraded]))
        self.trace.reserved(model.role, grant)
        return grant

    async def ask(self, model: Model, chat: Chat) -> Completion:
        """Ask a model and note what came of it.  Raises what the model raises."""
        started, span = self.clock(), self.trace.call(model.role)
        usage: Usage | None = None
        error: str | None = CANCELLED
        detail: str | None = None
        try:
            completion = await model.chat.complete(chat, span.headers)
            usage, error = completion.usage, None
            span.answered(completion.body, [one.finish_reason for one in completion.choices])
            return completion
        except (UpstreamError, UpstreamRefused) as failure:
            error, detail = failure.code, failure.detail()
            usage = None if failure.is_usage_unknown else NOTHING_USED
            raise
        finally:
            span.over(self.note(model, started, usage, error, detail))

    async def stream(
        self, model: Model, chat: Chat, prefix: Prefix | None = None, until: float | None = None
    ) -> "OpenLeg":
        """Have a model write, and the stream noted once it is closed.  Raises as ``ask`` does.

        It has failed where it has not begun by ``until``, of the running loop's clock.
        """
        started, span = self.clock(), self.trace.call(model.role)
        usage: Usage | None = None
        error, detail = CANCELLED, None
        try:
            stream = await model.chat.stream(chat, prefix, until, span.headers)
        except BaseException as failure:
            if isinstance(failure, UpstreamError | UpstreamRefused):
                error, detail = failure.code or error, failure.detail()
                usage = None if failure.is_usage_unknown else NOTHING_USED
            span.over(self.note(model, started, usage, error, detail))
            raise
        return OpenLeg(self, model, stream, started, span)

    def tell_apart(self, model: Model, one: Usage, others: Usage) -> None:
        """Note the last call as two: the draft that counts, and those that were written beside it.

        ``one`` and ``others`` are the parts of what it used.
        """
        last = replace(self.made.pop(), usage=one, cost_pico=cost_of(one, model.price))
        cost = cost_of(others, model.price)
        spare = replace(last, usage=others, cost_pico=cost, error=SPARE)
        self.made += [last, spare]

    def _bar(self) -> Denied | None:
        has_room = self.due_in is None or self.due_in.has_room
        return barred(may_escalate=self.may_escalate, has_room=has_room)

    def note(
        self,
        model: Model,
        started: float,
        usage: Usage | None,
        error: str | None,
        detail: str | None = None,
    ) -> Leg:
        """Note one call that is over."""
        cost, seconds = cost_of(usage, model.price), self.clock() - started
        leg = Leg(model.role, usage, cost, seconds, error, detail, started)
        self.made.append(leg)
        return leg


class OpenLeg:
    """A call whose answer is still coming.  ``close`` it: then it is noted, and the server free."""

    def __init__(
        self, legs: Legs, model: Model, stream: ChatStream, started: float, span: CallSpan
    ) -> None:
        self.model = model
        self._span = span
        self._legs = legs
        self._stream = stream
        self._started = started
        self._before: Usage | None = None
        self._is_closed = False

    @property
    def usage(self) -> Usage | None:
        """What the call has cost so far, as far as the server says."""
        return self._stream.usage

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can come."""
        return self._is_closed

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        """The chunks that came; none at the end; None where none came until then."""
        try:
            return await self._stream.read(until)
        except UpstreamError as failure:
            self._end(failure.code, failure.detail())
            raise

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
        span, self._span = self._span, self._span.handed_on()
        span.over(self._legs.note(self.model, self._started, self._stream.usage, ABORTED))
        self._before = self._stream.usage
        self._legs, self._started = legs, legs.clock()

    def _end(
        self, code: str | None, detail: str | None = None, cause: BaseException | None = None
    ) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._stream.close(cause)
            usage = _rest_of(self._stream.usage, self._before)
            if self._stream.opening:
                self._span.answered(self._stream.opening, [self._stream.finish_reason])
            self._span.over(self._legs.note(self.model, self._started, usage, code, detail))


def _rest_of(usage: Usage | None, before: Usage | None) -> Usage | None:
    """What has been used since; all of it where nobody knows what was before."""
    if usage is None or before is None:
        return usage
    try:
        return Usage(
            input=usage.input - before.input,
            output=usage.output - before.output,
            cached_input=usage.cached_input - before.cached_input,
            reasoning=usage.reasoning - before.reasoning,
        )
    except ValueError:  # the server takes back what it had counted
        return None
