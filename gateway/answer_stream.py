"""THE LIFE OF ONE STREAMED REQUEST: ``gateway/answer.py``, for an answer that goes out as it grows.

Top to bottom, a step each: hold, escalate, serve unjudged; and once something is out: flow, take
over, teach.  ``routing/`` decides all of it; here its word is carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.answer import Cascade, denied
from gateway.drafting import Decision, Drafting, Window
from gateway.errors import UpstreamError, UpstreamMalformed, UpstreamRefused
from gateway.facts import ABORTED, CANCELLED
from gateway.legs import Legs, OpenLeg
from gateway.wire.assemble import Assembly
from gateway.wire.chat import Chat, Prefix
from gateway.wire.chunk import Chunk
from routing.cascade import (
    AskTeacher,
    Defer,
    Keep,
    ServeDraft,
    Verdict,
    as_served,
    defer,
    hold_out,
    plan,
    settle,
)
from routing.handover import Seam, hand_over, obstacle_of
from routing.streaming import Doubt, Gate, Hold
from routing.vocabulary import Degraded, Denied, Handover, NoDraft, Obstacle, Reason, Role, Route

Chunks = Sequence[Chunk]
_HELD_BACK = (Hold, Defer)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one request asks of its stream.

    ``is_live`` False: nobody reads along, so all is held to the end and only abandoned early.
    ``is_restart_wanted``: the client can throw away what it has.  ``is_completed``: a draft that
    is abandoned shall be finished off the path, to learn from.
    """

    is_live: bool = True
    is_restart_wanted: bool = False
    is_completed: bool = False


@dataclass(frozen=True, slots=True)
class Splice:
    """Where the teacher took over from a draft that was half out, and how."""

    handover: Handover
    prefix: Prefix


@dataclass(slots=True)
class Course:
    """What is known of one streamed answer so far: headers, facts and the pair are made from it.

    ``draft`` is None where there was none, ``answer`` where the teacher wrote nothing.
    ``obstacle`` is why the teacher did not take over, where it was to.  ``is_unfinished``: the
    draft's leg was left open, for whoever finishes it.
    """

    served_by: Role | None = None
    degraded: Degraded | None = None
    doubt: Doubt | None = None
    obstacle: Obstacle | None = None
    splice: Splice | None = None
    draft: Drafting | None = None
    answer: Assembly | None = None
    is_unfinished: bool = False


class AnswerStream:
    """One streamed request.  ``course`` fills while it is read; ``close`` it in the end."""

    def __init__(self, chat: Chat, cascade: Cascade, legs: Legs, wishes: Wishes) -> None:
        self.course = Course()
        self._chat = chat
        self._cascade = cascade
        self._legs = legs
        self._wishes = wishes
        self._prospect = cascade.prospect(chat)
        self._is_reasoning_released = wishes.is_live and cascade.streaming.is_reasoning_released
        self._teacher: OpenLeg | None = None
        self._verdict: Verdict
        self._decision: Decision = Hold()
        self._is_handed_on = False
        self._step: Callable[[], Awaitable[Chunks | None]] = self._begin

    def read(self) -> Awaitable[Chunks | None]:
        """What the client gets next, which may be nothing as yet; None at the end.

        Raises TeacherUnavailable or BudgetSpent where there is nothing to serve, UpstreamRefused
        where the model that had the last word blames the request, and UpstreamError where a model
        fails whose words are out already.
        """
        return self._step()

    def close(self) -> None:
        """End the calls that are still open."""
        if self._teacher is not None:
            self._teacher.close()
        if self.course.draft is not None and not self._is_handed_on:
            self.course.draft.leg.close(ABORTED if self.course.is_unfinished else CANCELLED)

    def hand_on_draft(self, legs: Legs) -> Drafting | None:
        """The draft that was given up and is still being written: the caller's, from now on.

        What is still to come of it will be noted in ``legs``.
        """
        draft = self.course.draft
        if draft is None or not self.course.is_unfinished:
            return None
        self._is_handed_on = True
        draft.leg.hand_on(legs)
        return draft

    async def _begin(self) -> Chunks:
        """Have the student write, where it can."""
        cascade, cannot = self._cascade, self._cascade.student_cannot
        is_live, has_room = self._wishes.is_live, cascade.student.has_room_for(self._chat)
        first = plan(  # pure
            self._prospect, cannot, cascade.policy, is_live=is_live, has_room=has_room
        )
        if isinstance(first, NoDraft):
            return self._defer(defer(first, cascade.policy))
        if self._is_pinned:
            self._legs.verdict = Keep(None, reason=Reason.PINNED)
            self._step = self._serve_unjudged
            return ()
        try:
            reason = await self._open_draft()  # I/O: student
        except UpstreamError:
            reason = Reason.STUDENT_FAILED
        except UpstreamRefused as refusal:
            if not refusal.is_too_long:
                raise
            reason = Reason.STUDENT_CANNOT
        return () if reason is None else self._defer(defer(NoDraft(reason), cascade.policy))

    async def _hold(self) -> Chunks:
        """Nothing is out: the student writes until the gate knows what to do with it."""
        draft = self._draft
        try:
            self._decision = await draft.advance()  # I/O: student
        except UpstreamError:
            self.course.draft = None
            return self._defer(defer(NoDraft(Reason.STUDENT_FAILED), self._cascade.policy))
        if isinstance(self._decision, Defer):
            return self._defer(self._decision)
        if isinstance(self._decision, Hold):
            return draft.take_reasoning() if self._is_reasoning_released else ()
        verdict = draft.gate.verdict
        if verdict is not None and self._legs.is_held_out:
            verdict = hold_out(verdict)  # pure
        return self._defer(verdict) if isinstance(verdict, Defer) else self._keep(verdict)

    def _keep(self, verdict: Verdict | None) -> Chunks:
        """The draft is enough: it goes out from here on."""
        self.course.is_unfinished = False
        self._legs.verdict = verdict
        self.course.served_by, self._step = Role.STUDENT, self._let_go
        return ()

    def _defer(self, verdict: Verdict) -> Chunks:
        self._verdict = self._legs.verdict = verdict
        self._step = self._escalate
        return ()

    async def _escalate(self) -> Chunks:
        """The draft is not enough, and nothing of it is out: the teacher's answer in its place."""
        verdict, draft, teacher = self._verdict, self.course.draft, self._cascade.teacher
        outcome = settle(verdict, self._legs.reserve(teacher), self._cascade.when_denied)  # pure
        if isinstance(outcome, AskTeacher):
            if draft is not None:
                self._give_up(draft)
            try:
                return await self._ask_teacher(None)  # I/O: teacher
            except (UpstreamError, UpstreamRefused) as failure:
                if isinstance(failure, UpstreamRefused) and draft is None:
                    raise  # too long for both, or wrong in the eyes of the only one who could
                outcome = settle(verdict, denied(failure), self._cascade.when_denied)  # pure
        if not isinstance(outcome, ServeDraft):
            if draft is not None:
                draft.leg.close(ABORTED)
            raise self._legs.nothing_to_serve()
        served = as_served(verdict)  # pure
        if isinstance(served, Keep):
            return self._keep(served)
        self.course.degraded = outcome.degraded
        self._step = self._serve_unjudged
        return ()

    async def _serve_unjudged(self) -> Chunks:
        """Nobody else is to be had, or wanted: the draft as it comes, or written now."""
        self.course.is_unfinished = False
        draft = self.course.draft
        try:
            is_to_write = draft is None or draft.is_given_up
            if is_to_write and await self._open_draft(is_bounded=False):  # I/O: student
                raise self._legs.nothing_to_serve()
            self._decision = self._draft.open_gate()
            while not (self._draft.has_begun or self._draft.is_over):
                self._decision = await self._draft.advance()  # I/O: student
        except (UpstreamError, UpstreamRefused) as failure:
            if self._is_pinned and isinstance(failure, UpstreamRefused):
                raise
            raise self._legs.nothing_to_serve() from None
        self.course.served_by, self._step = Role.STUDENT, self._let_go
        return ()

    async def _let_go(self) -> Chunks:
        """What was held back goes out, and from here on the rest."""
        self._step = self._flow
        return self._released(self._draft)

    async def _flow(self) -> Chunks:
        """The draft goes out at the student's pace."""
        draft = self._draft
        if isinstance(self._decision, Doubt):
            return await self._doubt(self._decision)
        if draft.is_over:
            if isinstance(draft.gate.verdict, Keep):  # a tool call may have been the weakest part
                self._legs.verdict = draft.gate.verdict
            self._step = _end
            return ()
        try:
            self._decision = await draft.advance()  # I/O: student
        except UpstreamError:
            if part := await self._take_over():
                return part
            raise
        return self._released(draft)

    def _released(self, draft: Drafting) -> Chunks:
        """What the gate has released and is not out yet."""
        decision = self._decision
        return () if isinstance(decision, _HELD_BACK) else draft.take(decision.tokens)

    async def _doubt(self, doubt: Doubt) -> Chunks:
        """Half is out, and it is in doubt: the teacher takes over, or the draft goes on."""
        self.course.doubt = doubt
        if part := await self._take_over():
            return part
        self._decision = self._draft.gate.carry_on()
        return self._released(self._draft)

    async def _take_over(self) -> Chunks:
        """The teacher goes on with what is out, or starts again; nothing where it does neither."""
        draft, teacher = self._draft, self._cascade.teacher
        seam = Seam(
            beyond_text=draft.beyond_text,
            has_words=bool(draft.prefix.text),
            is_over=draft.is_over or not self._chat.has_room_after(draft.prefix.tokens),
            can_continue=teacher.chat.can_continue and self._chat.can_go_on,
            is_restart_wanted=self._wishes.is_restart_wanted,
        )
        way = hand_over(self._cascade.streaming.handover, seam)  # pure
        if way is Handover.NEVER:
            return ()
        if isinstance(way, Obstacle):
            self.course.obstacle = way
            return ()
        try:
            grant = self._legs.reserve(teacher)
            if isinstance(grant, Denied):
                self.course.obstacle = obstacle_of(grant)
                return ()
            first = await self._ask_teacher(way)  # I/O: teacher
        except (UpstreamError, UpstreamRefused) as failure:
            self.course.obstacle = obstacle_of(denied(failure))
            return ()  # the student has gone on meanwhile
        draft.leg.close(None if way is Handover.CONTINUE else ABORTED)
        self.course.splice = Splice(way, draft.prefix)
        return first

    async def _ask_teacher(self, way: Handover | None) -> Chunks:
        """The first of the teacher's answer.  Raises what the teacher raises."""
        prefix = self._draft.prefix if way is Handover.CONTINUE else None
        leg = self._teacher = await self._legs.stream(self._cascade.teacher, self._chat, prefix)
        first: list[Chunk] = []
        while part := await leg.read():  # a role alone is no sign that an answer will come
            first += part
            if any(chunk.says_something for chunk in part):
                break
        else:
            failure = UpstreamMalformed("The model server ended without an answer.")
            leg.fail(failure)
            raise failure
        self.course.served_by, self.course.answer = Role.TEACHER, Assembly()
        return self._taught(first)

    async def _teach(self) -> Chunks:
        """The teacher's answer goes out at the teacher's pace."""
        return self._taught(() if self._teacher is None else await self._teacher.read() or ())

    def _taught(self, part: Chunks) -> Chunks:
        self._step = self._teach if part else _end
        if not part and self._teacher is not None:
            self._teacher.close()
        if self.course.answer is not None:
            for chunk in part:
                self.course.answer.add(chunk)
        return part

    async def _open_draft(self, *, is_bounded: bool = True) -> Reason | None:
        """Have the student write; a draft that was there before is forgotten.

        The time bound of the window, where there is one, holds for its beginning too.  Returns why
        the student may not be asked, and raises what it raises.
        """
        student, streaming = self._cascade.student, self._cascade.streaming
        if isinstance(self._legs.reserve(student), Denied):
            return Reason.STUDENT_FAILED
        if self._wishes.is_live:
            hold_tokens = None if self._chat.is_json_wanted else streaming.hold_tokens
            gate = Gate(self._cascade.policy.streamed, hold_tokens, self._prospect)
        else:
            hold_tokens = None
            gate = Gate(self._cascade.policy.early_abort, None, self._prospect)
        until = asyncio.get_running_loop().time() + streaming.hold_seconds
        window = Window(
            streaming.handover if self._wishes.is_live else Handover.NEVER,
            until if is_bounded and hold_tokens is not None else None,
            self._legs.is_drawn or self._legs.is_audit_drawn,
        )
        leg = await self._legs.stream(student, self._chat, until=window.until)
        self.course.draft = Drafting(leg, gate, self._chat, window)
        self._step = self._hold
        return None

    def _give_up(self, draft: Drafting) -> None:
        """Free the student's slot, unless the draft is to be finished off the path.

        One that is held out always is: it would have been written to its end.
        """
        if not draft.is_over:
            is_held_out = isinstance(draft.gate.verdict, Keep)
            self.course.is_unfinished = self._wishes.is_completed or is_held_out
            if not self.course.is_unfinished:
                draft.leg.close(ABORTED)

    @property
    def _is_pinned(self) -> bool:
        """Whether the request wants the student's answer, whatever it is."""
        return self._cascade.route is Route.STUDENT

    @property
    def _draft(self) -> Drafting:
        if self.course.draft is None:
            raise RuntimeError("there is no draft")
        return self.course.draft


async def _end() -> None:
    """Nothing more is to come."""
