"""What is told of one request: headers to the client, facts to the operator, a pair to learn."""

from fractions import Fraction

from msgspec import Struct, field

from gateway.answer import Answer
from gateway.answer_stream import Course
from gateway.api.context import Context, Served, Trial
from gateway.api.keeping import kept_content
from gateway.api.recording import Recording
from gateway.conversations.talks import OpenTurn
from gateway.errors import GatewayError, NotRecorded, RequestError, UpstreamRefused
from gateway.facts import ANSWERED, BothAnswered, Ending, RequestSettled
from gateway.keys import Tenant
from gateway.legs import Legs
from gateway.limiting import Permit
from gateway.pairs import Pair, Provenance, Rescue, content_of, pair_record
from gateway.steering.steered import Portion
from gateway.wire.chat import Chat
from gateway.wire.errors import status_of
from routing.auditing import Terms, terms_of
from routing.baseline import Estimate, Observation, Ratios, correction_of, measure
from routing.money import Usage, total_of, usd
from routing.rollout import Arm
from routing.steering import Standing
from routing.vocabulary import Basis, Handover, Reason, Role, Route

ALWAYS = Fraction(1)
NOTHING_LEARNT = Ratios()


class Account(Struct):
    """What is known of one request so far.

    ``ratios`` are those of the time at which the coin was thrown, before any draft: whether it is
    held out or kept, what is predicted of the teacher's bill is the same.  ``holdout`` is the
    probability with which the coin said so.  ``trial`` is None where no candidate was tried when it
    was admitted; ``arm`` says whose it is then.  ``given`` is an answer that was judged whole;
    ``is_draft_awaited``: the rest of its draft is being written off the path.
    ``recording`` notes an answer that is to be stored.  ``permit`` is None where its key has no
    limits.  ``standing`` is what was in force when it came, None where nobody steers the cascade;
    ``cost_pico`` what asking the teacher was expected to cost then, for all that depends on it,
    and ``spending`` what it takes of a hard cap;
    ``terms`` are those on which it is learnt from, None where it is not; ``is_own`` says that it
    said itself how it is to be answered.  ``conversation`` is the id of
    that of which it is a ``turn``, None where it stands alone, or nobody wants to know.
    ``pair_id`` names its first pair, once that is written.
    """

    context: Context
    request_id: str
    started: float
    legs: Legs
    tenant: Tenant | None = None
    chat: Chat | None = None
    served: Served | None = None
    course: Course = field(default_factory=Course)
    body_seconds: float = 0.0
    first_byte_seconds: float | None = None
    first_tokens: int = 0
    is_settled: bool = False
    fact: RequestSettled | None = None
    ratios: Ratios = NOTHING_LEARNT
    holdout: Fraction = Fraction(0)
    trial: Trial | None = None
    arm: Arm = Arm.INCUMBENT
    given: Answer | None = None
    is_draft_awaited: bool = False
    permit: Permit | None = None
    recording: Recording | None = None
    standing: Standing | None = None
    cost_pico: int | None = None
    spending: Portion | None = None
    terms: Terms | None = None
    is_own: bool = False
    conversation: str | None = None
    turn: OpenTurn | None = None
    pair_id: str | None = None

    @property
    def complete_drafts(self) -> float:
        """The share of abandoned drafts that are finished all the same."""
        if self.served is None or not self.is_storing:
            return 0.0
        if self.terms is not None:
            return self.terms.complete
        return self.served.cascade.streaming.complete_drafts

    @property
    def over_at(self) -> float:
        """When the request was over, by the steady clock: now, as long as it is not."""
        if self.fact is None:
            return self.context.clock()
        return self.started + self.fact.seconds

    @property
    def reason(self) -> Reason | None:
        """Why the answer comes from where it comes, as far as that is known."""
        if self.course.doubt is not None:
            return Reason.LATE_DOUBT
        if self.course.splice is not None:  # without a doubt: the student broke off
            return Reason.STUDENT_FAILED
        return None if self.legs.verdict is None else self.legs.verdict.reason

    @property
    def ending(self) -> Ending:
        """How the request ends if nothing more goes wrong."""
        if self.course.served_by is Role.TEACHER:
            return Ending.ESCALATED
        return Ending.DEGRADED if self.course.degraded is not None else Ending.KEPT

    def headers(self) -> dict[str, str]:
        """What the response says of the answer, by now."""
        headers = {"x-request-id": self.request_id}
        course, verdict, reason = self.course, self.legs.verdict, self.reason
        if self.served is not None:
            cascade = self.served.cascade
            headers["x-understudy-cascade"] = cascade.name
            headers["x-understudy-policy"] = cascade.policy.version
        if course.served_by is not None:
            headers["x-understudy-served-by"] = course.served_by
        if reason is not None:
            headers["x-understudy-reason"] = reason
        if verdict is not None and verdict.confidence is not None:
            headers["x-understudy-confidence"] = f"{verdict.confidence.value:.6f}"
        if course.degraded is not None:
            headers["x-understudy-degraded"] = course.degraded
        if self.permit is not None:
            headers |= self.permit.headers()
        return headers

    def trailer(self) -> dict[str, object]:
        """The same, for the last chunk of a stream: by then all of it is known, cost included."""
        verdict, splice, cost = self.legs.verdict, self.course.splice, self._cost_pico()
        told: dict[str, object] = {
            "served_by": self.course.served_by,
            "reason": self.reason,
            "confidence": verdict and verdict.confidence and round(verdict.confidence.value, 6),
            "degraded": self.course.degraded,
            "cost_usd": None if cost is None else usd(cost),
        }
        if splice is not None:
            told["handover"] = {
                "kind": splice.handover,
                "after_tokens": splice.prefix.tokens,
                "after_characters": len(splice.prefix.text),
            }
        return told

    def add_cost(self, headers: dict[str, str]) -> None:
        """Say in headers what the request cost: only where all its calls are over."""
        cost = self._cost_pico()
        if cost is not None:
            headers["x-understudy-cost-usd"] = usd(cost)

    def admit(self) -> None:
        """Have the legs know what stands in the way of an escalation, and throw the coin."""
        self.legs.may_escalate = self.tenant is None or self.tenant.may_escalate
        if self.permit is not None and self.permit.is_student_only:
            self.legs.budget_spent = self.permit.budget_spent()
        if self.served is not None and self.served.cascade.route is Route.STUDENT:
            self.legs.may_escalate = False
        if self.is_pair_due:
            self.legs.due_in = self.context.pairs
        if self.served is not None:
            self.legs.trace.admitted(self.served.cascade.name)
            self.ratios = self.served.learner.ratios
            if self.served.steered is not None:
                self.spending = self.served.steered.spending(self.cost_pico)
                self.legs.spending = self.spending
            self.legs.is_drawn = bool(self.holdout) and self.context.dice() < self.holdout
            if self.standing is not None or self.served.audits.share:
                self._draw_audit(self.served)

    def _draw_audit(self, served: Served) -> None:
        """Throw the coin of audits, before anything is known of a draft.

        A candidate is judged by its trial; and what a request has wished tells of itself alone.
        """
        if self.is_own or self.arm is not Arm.INCUMBENT:
            return
        complete = served.cascade.streaming.complete_drafts
        terms = terms_of(self.standing, served.audits.share, float(self.holdout), complete)
        self.terms = terms
        if terms is not None and terms.share:
            self.legs.is_audit_drawn = self.context.dice() < terms.share

    async def log_pair(self, rescue: Rescue, legs: Legs | None = None) -> str | None:
        """Write a pair to the journal, where that is allowed; its id, None where there is none.

        ``legs`` have the calls and the verdict that it tells of, where these are not the request's.
        """
        chat, served = self.chat, self.served
        if chat is None or served is None or not self.is_storing:
            return None
        provenance = self.provenance(served)
        kept = await kept_content(self.context, served, provenance.id, content_of(chat, rescue))
        record = pair_record(Pair(provenance, rescue, kept), chat, legs or self.legs)
        if not self.context.pairs.append(served.cascade.name, record):
            return None
        self.pair_id = self.pair_id or provenance.id
        return provenance.id

    def provenance(self, served: Served) -> Provenance:
        """Where a record that is written now comes from."""
        tenant = self.tenant
        return Provenance(
            source=served.source,
            policy_version=served.cascade.policy.version,
            id=self.context.new_id(),
            time=self.context.epoch(),
            request_id=self.request_id,
            tenant=None if tenant is None else tenant.name,
            tenant_may_train=tenant is None or tenant.may_train,
        )

    def insist_on(self, pair_id: str | None) -> None:
        """Raise NotRecorded where there is no pair and its answer may not be delivered without."""
        if pair_id is None and self.is_pair_due:
            raise NotRecorded("This answer could not be recorded, and is not served without that.")

    @property
    def is_storing(self) -> bool:
        """Whether a pair may be kept of this request."""
        return (
            self.served is not None
            and self.served.is_storing
            and self.chat is not None
            and self.chat.is_store_allowed
            and (self.tenant is None or self.tenant.may_store)
        )

    @property
    def is_pair_due(self) -> bool:
        """Whether an answer of the teacher may be delivered only once its pair is written."""
        return self.context.is_pair_due and self.is_storing

    def settle_with(self, error: GatewayError, status: int | None = None) -> None:
        """Tell that the request ended with this error; ``status`` is what the client saw of it."""
        is_client_mistake = isinstance(error, RequestError | UpstreamRefused)
        ending = Ending.REJECTED if is_client_mistake else Ending.FAILED
        self.settle(ending, status or status_of(error), error.code)

    def settle(self, ending: Ending, status: int, error_code: str | None = None) -> None:
        """Tell how the request ended, once: what fails after that is another matter."""
        if self.is_settled:
            return
        self.is_settled = True
        chat, served, course = self.chat, self.served, self.course
        cascade = None if served is None else served.cascade
        verdict = self.legs.verdict
        is_answered = ending in ANSWERED
        self.context.observer.settled(
            fact := RequestSettled(
                request_id=self.request_id,
                ending=ending,
                status=status,
                seconds=self.context.clock() - self.started,
                first_byte_seconds=self.first_byte_seconds,
                cascade=None if cascade is None else cascade.name,
                tenant=None if self.tenant is None else self.tenant.name,
                is_stream=chat is not None and chat.is_stream,
                served_by=course.served_by,
                reason=self.reason,
                degraded=course.degraded,
                handover=self._handover(),
                doubt=course.doubt,
                obstacle=None if course.splice is not None else course.obstacle,
                confidence=None if verdict is None else verdict.confidence,
                merit=None if verdict is None else verdict.merit,
                group=None if chat is None else chat.group,
                policy_version=None if cascade is None else cascade.policy.version,
                legs=self.legs.made[:],
                denials=self.legs.denied[:],
                baseline=self._baseline() if is_answered else None,
                error_code=error_code,
                body_seconds=self.body_seconds,
                first_tokens=self.first_tokens,
                trace_id=self.legs.trace.id,
            )
        )
        self.fact = fact
        if ending is not Ending.ESCALATED:
            if self.is_held_out:  # broken off, or left: nobody will know the teacher's bill
                self.observe(None)
        elif not course.is_unfinished:
            draft = course.draft
            is_whole = draft is None or draft.is_whole
            self.observe(self._finished_usage(Role.STUDENT) if is_whole else None)

    def propensity(self, *, is_draft_had: bool) -> float:
        """The probability with which an escalation, and its whole draft, was to be had.

        ``is_draft_had``: it was there without being finished off the path.
        """
        if self.is_held_out:
            return float(self.holdout)
        return 1.0 if is_draft_had else self.complete_drafts

    def is_worth_finishing(self, pair_id: str | None) -> bool:
        """Whether anything is learnt from the rest of a draft, given the pair it would complete.

        What is held out is learnt from without one too, unless its answer is not delivered.
        """
        return pair_id is not None or (self.is_held_out and not self.is_pair_due)

    @property
    def is_held_out(self) -> bool:
        """Whether the teacher answers in place of a draft that was enough."""
        return self.reason is Reason.HOLDOUT

    def observe(self, student: Usage | None, propensity: Fraction = ALWAYS) -> None:
        """Tell, and learn, what a request says of the teacher's bill that both have answered.

        ``student`` is what the whole draft took, None where there is none or nobody knows; it was
        to be had with the probability ``propensity`` among those that were not held out.
        """
        served, splice = self.served, self.course.splice
        if served is None or (splice is not None and splice.handover is Handover.CONTINUE):
            return
        if self.is_held_out and self._would_be_handed_over(served):
            return
        basis, cascade = Basis.ESCALATIONS, served.cascade
        teacher = self._finished_usage(Role.TEACHER, is_told=True)
        correction = None
        if self.is_held_out:
            basis, propensity = Basis.SAMPLE, self.holdout
            measured = measure(teacher, cascade.teacher.price).pico
            predicted = self.ratios.predict(student, cascade.teacher.price).pico
            if measured is not None and predicted is not None:
                correction = correction_of(measured, predicted, propensity, is_in_sum=True)
        seen = None
        if student is not None and teacher is not None:
            seen = Observation(basis, student, teacher, propensity)
            served.learner.learn(seen)
        if seen is not None or self.is_held_out:
            tenant = None if self.tenant is None else self.tenant.name
            fact = BothAnswered(cascade.name, tenant, basis, correction, is_learnt=seen is not None)
            self.context.observer.both_answered(fact)

    def _would_be_handed_over(self, served: Served) -> bool:
        """Whether the teacher would have taken over from a draft, had it not been held out.

        Drafts like it have a bill of the teacher's own: it stands for none that is predicted.
        """
        is_wished = served.cascade.streaming.handover is not Handover.NEVER
        return (
            is_wished and self.course.draft is not None and self.course.draft.gate.doubt is not None
        )

    def _handover(self) -> Handover | None:
        if self.course.splice is not None:
            return self.course.splice.handover
        return None if self.course.doubt is None else Handover.NEVER

    def _cost_pico(self) -> int | None:
        """What the client is told: exact, or nothing."""
        made = self.legs.made
        return total_of([None if leg.is_estimated else leg.cost_pico for leg in made])

    def _baseline(self) -> Estimate:
        """What the teacher alone would have cost: its own bill where it wrote the whole answer."""
        price = None if self.served is None else self.served.cascade.teacher.price
        splice = self.course.splice
        if splice is not None and splice.handover is Handover.CONTINUE:
            usage = {leg.role: leg.usage for leg in self.legs.made}
            student, teacher = usage.get(Role.STUDENT), usage.get(Role.TEACHER)
            return self.ratios.predict_spliced(student, splice.prefix.tokens, teacher, price)
        if self.course.served_by is Role.TEACHER:
            teacher = self._finished_usage(Role.TEACHER)
            if teacher is not None:
                return measure(teacher, price)
        return self.ratios.predict(self._finished_usage(Role.STUDENT), price)

    def _finished_usage(self, role: Role, *, is_told: bool = False) -> Usage | None:
        """What a model's last call took that came to its end; ``is_told``: by its server's word."""
        for leg in reversed(self.legs.made):
            if leg.role is role and leg.error is None:
                return None if is_told and leg.is_estimated else leg.usage
        return None

    def spliced_usage(self) -> Usage | None:
        """What the client received of both models; None where that is unknown.

        Where the student's bill is not known, the prompt is what the teacher read, without the
        beginning that it went on from: then it is counted in the teacher's tokens.
        """
        legs = {leg.role: leg.usage for leg in self.legs.made if not leg.is_estimated}
        student, teacher = legs.get(Role.STUDENT), legs.get(Role.TEACHER)
        splice = self.course.splice
        if teacher is None or splice is None:
            return None
        output = splice.prefix.tokens + teacher.output
        if student is not None:
            return Usage(student.input, output, student.cached_input)
        begun = splice.prefix.tokens if splice.handover is Handover.CONTINUE else 0
        return Usage(input=max(teacher.input - begun, 0), output=output)
