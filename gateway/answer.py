"""THE LIFE OF ONE REQUEST.  Read this first.

Top to bottom: plan, draft, defer, grant, settle, teacher.  Each step is pure, or one named piece
of input and output.  What a request cost, and how it ended, is told by the facts that this module
returns; nothing is logged or counted here.
"""

from dataclasses import dataclass, field

from gateway.errors import (
    GatewayError,
    TeacherUnavailable,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
)
from gateway.facts import Leg
from gateway.ports import ChatModel, Clock
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, drafts_of
from routing.cascade import AskTeacher, Keep, ServeDraft, Verdict, defer, plan, settle
from routing.money import NOTHING_USED, Price, Usage, cost_of
from routing.policy import Policy
from routing.vocabulary import Degraded, Denied, Granted, Need, NoDraft, Reason, Role, WhenDenied


@dataclass(frozen=True, slots=True)
class Model:
    """One of a cascade's models: how to ask it and what it costs (None: nobody said)."""

    role: Role
    chat: ChatModel
    price: Price | None


@dataclass(frozen=True, slots=True)
class Cascade:
    """One student, one teacher, one policy, under one model name."""

    name: str
    student: Model
    teacher: Model
    policy: Policy
    student_cannot: frozenset[Need]
    when_denied: WhenDenied


@dataclass(slots=True)
class Legs:
    """The calls that one request made, in order, and the verdict, once there is one.

    Kept apart from the answer, because they are facts even where no answer comes of them.
    """

    clock: Clock
    made: list[Leg] = field(default_factory=list)
    verdict: Verdict | None = None

    async def ask(self, model: Model, chat: Chat) -> Completion:
        """Ask a model and note what came of it.  Raises what the model raises."""
        started = self.clock()
        usage: Usage | None = None
        error: str | None = "cancelled"
        detail: str | None = None
        try:
            completion = await model.chat.complete(chat)
            usage, error = completion.usage, None
            return completion
        except (UpstreamError, UpstreamRefused) as failure:
            error, detail = failure.code, failure.detail()
            usage = None if failure.is_usage_unknown else NOTHING_USED
            raise
        finally:
            cost, seconds = cost_of(usage, model.price), self.clock() - started
            self.made.append(Leg(model.role, usage, cost, seconds, error, detail))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets, who wrote it and why.  ``draft`` is None where there was none."""

    completion: Completion
    served_by: Role
    verdict: Verdict
    draft: Completion | None = None
    degraded: Degraded | None = None


async def answer(chat: Chat, cascade: Cascade, legs: Legs) -> Answer:
    """Answer one request.

    Raises TeacherUnavailable where there is nothing to serve, and UpstreamRefused where the model
    that had the last word blames the request.
    """
    draft = await _draft(chat, cascade, legs)  # I/O: student
    evidence = draft if isinstance(draft, NoDraft) else drafts_of(draft, chat)
    verdict = legs.verdict = defer(evidence, cascade.policy)  # pure
    grant = Granted() if isinstance(verdict, Keep) else cascade.teacher.chat.reserve()
    outcome = settle(verdict, grant, cascade.when_denied)  # pure
    if isinstance(outcome, AskTeacher):
        try:
            taught = await legs.ask(cascade.teacher, chat)  # I/O: teacher
            written = None if isinstance(draft, NoDraft) else draft
            return Answer(taught, Role.TEACHER, verdict, written)
        except (UpstreamError, UpstreamRefused) as failure:
            if isinstance(failure, UpstreamRefused) and isinstance(draft, NoDraft):
                raise  # too long for both, or wrong in the eyes of the only one who could answer
            outcome = settle(verdict, _denied(failure), cascade.when_denied)  # pure
    if isinstance(outcome, ServeDraft) and not isinstance(draft, NoDraft):
        return Answer(draft, Role.STUDENT, verdict, draft, outcome.degraded)
    raise TeacherUnavailable("No model could answer this request at the moment.")


async def _draft(chat: Chat, cascade: Cascade, legs: Legs) -> Completion | NoDraft:
    """The student's answer, or why there is none."""
    first = plan(chat.needs, cascade.student_cannot)
    if isinstance(first, NoDraft):
        return first
    if isinstance(cascade.student.chat.reserve(), Denied):
        return NoDraft(Reason.STUDENT_FAILED)
    try:
        return await legs.ask(cascade.student, chat)
    except UpstreamError:
        return NoDraft(Reason.STUDENT_FAILED)
    except UpstreamRefused as refusal:
        if refusal.is_too_long:
            return NoDraft(Reason.STUDENT_CANNOT)
        raise


def _denied(failure: GatewayError) -> Denied:
    """A granted escalation that failed, as the denial it turned out to be."""
    busy = isinstance(failure, UpstreamBusy)
    return Denied(Degraded.TEACHER_BUSY if busy else Degraded.TEACHER_FAILED)
