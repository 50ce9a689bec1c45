"""THE LIFE OF ONE REQUEST.  Read this first.

Top to bottom: plan, draft, defer, grant, settle, teacher.  Each step is pure, or one named piece
of input and output.  What a request cost, and how it ended, is told by the facts that this module
returns; nothing is logged or counted here.
"""

from dataclasses import dataclass, field, replace

from msgspec import Struct

from gateway.errors import (
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
)
from gateway.legs import Legs, Model
from gateway.sampled import Samples, ask_several
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, drafts_of
from gateway.wire.prospect import prospect_of
from routing.cascade import (
    AskStudent,
    AskTeacher,
    Keep,
    Prospect,
    ServeDraft,
    Verdict,
    as_served,
    defer,
    plan,
    settle,
)
from routing.conversation import NO_PAST, Past
from routing.policy import Policy
from routing.sampling import Sampling
from routing.vocabulary import (
    Degraded,
    Denied,
    Granted,
    Handover,
    Need,
    NoDraft,
    Reason,
    Role,
    Route,
    WhenDenied,
)

# What most requests meet: made once, and looked up without going through their enums.
_AUTO, _STUDENT = Route.AUTO, Role.STUDENT
_GRANTED = Granted()


@dataclass(frozen=True, slots=True)
class Streaming:
    """How a cascade streams.

    Drafts are held back for ``hold_tokens`` tokens or ``hold_seconds``; ``complete_drafts`` in
    [0, 1] is the share of abandoned drafts that are finished all the same, to learn from.
    """

    hold_tokens: int
    hold_seconds: float
    keepalive_seconds: float
    handover: Handover
    is_early_abort: bool
    is_reasoning_released: bool
    complete_drafts: float


@dataclass(frozen=True, slots=True)
class Cascade:
    """One student, one teacher, one policy, under one model name.

    ``sampling`` is what the operator sets of the student's sampling, whatever clients ask for;
    ``samples`` is how many drafts are to agree.  ``is_one_tokenizer``: token ids mean the same to
    both models.  ``route`` is whom one request wants, and ``past`` what its conversation says of
    it, for which a cascade is made of its own.
    """

    name: str
    student: Model
    teacher: Model
    policy: Policy
    student_cannot: frozenset[Need]
    when_denied: WhenDenied
    streaming: Streaming
    samples: Samples
    sampling: Sampling = field(default_factory=dict)
    is_one_tokenizer: bool = False
    route: Route = Route.AUTO
    past: Past = NO_PAST

    def prospect(self, chat: Chat, samples: int = 1) -> Prospect:
        """What is known of a request before anybody has answered it."""
        known = prospect_of(chat, self.policy, self.sampling, samples)
        if self.route is _AUTO and self.past is NO_PAST:
            return known
        past = self.past
        return replace(known, route=self.route, is_sticky=past.is_sticky, earlier_kept=past.kept)


class Answer(Struct, frozen=True):
    """What the client gets, who wrote it and why.  ``draft`` is None where there was none."""

    completion: Completion
    served_by: Role
    verdict: Verdict
    draft: Completion | None = None
    degraded: Degraded | None = None


async def answer(chat: Chat, cascade: Cascade, legs: Legs) -> Answer:
    """Answer one request.

    Raises TeacherUnavailable or BudgetSpent where there is nothing to serve, and UpstreamRefused
    where the model that had the last word blames the request.
    """
    prospect = cascade.prospect(chat, cascade.samples.count)
    has_room = cascade.student.has_room_for(chat)
    first = plan(prospect, cascade.student_cannot, cascade.policy, has_room=has_room)  # pure
    draft = await write_draft(first, chat, prospect, cascade, legs)  # I/O: student
    evidence = draft if isinstance(draft, NoDraft) else drafts_of(draft, chat)
    is_held_out = legs.is_held_out
    verdict = defer(evidence, cascade.policy, prospect, is_held_out=is_held_out)  # pure
    legs.verdict = verdict
    grant = _GRANTED if isinstance(verdict, Keep) else legs.reserve(cascade.teacher)
    outcome = settle(verdict, grant, cascade.when_denied)  # pure
    if isinstance(outcome, AskTeacher):
        written = legs.draft = None if isinstance(draft, NoDraft) else draft
        try:
            taught = await legs.ask(cascade.teacher, chat)  # I/O: teacher
            return Answer(taught, Role.TEACHER, verdict, written)
        except (UpstreamError, UpstreamRefused) as failure:
            if isinstance(failure, UpstreamRefused) and isinstance(draft, NoDraft):
                raise  # too long for both, or wrong in the eyes of the only one who could answer
            outcome = settle(verdict, denied(failure), cascade.when_denied)  # pure
    if isinstance(outcome, ServeDraft):
        legs.verdict = verdict = as_served(verdict)  # pure
        if isinstance(draft, NoDraft):  # it was spared, and is wanted after all
            draft = await write_draft(AskStudent(), chat, prospect, cascade, legs)  # I/O: student
        if not isinstance(draft, NoDraft):
            return Answer(draft, _STUDENT, verdict, draft, outcome.degraded)
    raise legs.nothing_to_serve()


async def write_draft(
    first: AskStudent | NoDraft, chat: Chat, prospect: Prospect, cascade: Cascade, legs: Legs
) -> Completion | NoDraft:
    """The student's answer, of several the one that most agree with, or why there is none.

    Raises UpstreamRefused where it blames the request, but for its length.
    """
    if isinstance(first, NoDraft):
        return first
    if isinstance(legs.reserve(cascade.student), Denied):
        return NoDraft(Reason.STUDENT_FAILED)
    is_sampled = prospect.samples > 1
    try:
        if is_sampled:
            return await ask_several(cascade.student, chat, cascade.samples, legs)
        return await legs.ask(cascade.student, chat)
    except UpstreamError:
        return NoDraft(Reason.STUDENT_FAILED)
    except UpstreamRefused as refusal:
        if refusal.is_too_long:
            return NoDraft(Reason.STUDENT_CANNOT)
        if is_sampled:  # what it refuses may be so many drafts, which are not the client's wish
            return NoDraft(Reason.STUDENT_FAILED)
        raise


def denied(failure: GatewayError) -> Denied:
    """A granted escalation that failed, as the denial it turned out to be."""
    busy = isinstance(failure, UpstreamBusy)
    return Denied(Degraded.TEACHER_BUSY if busy else Degraded.TEACHER_FAILED)
