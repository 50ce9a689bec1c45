"""A draft that the teacher is, or was, asked about: all that an audit needs of its request.

The request itself is over: nothing here leads back to its connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.api.account import Account
from gateway.api.context import Context, Served
from gateway.facts import Leg
from gateway.pairs import Provenance
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, read_completion, substance_of
from routing.auditing import Known, Terms
from routing.cascade import Verdict
from routing.steering import Grade
from routing.vocabulary import Degraded, Reason, Role


@dataclass(frozen=True, slots=True)
class Case:
    """One draft of a request that was answered.

    ``draft`` is what the client was served, as a chat completion, ``said`` what counts of it.
    ``is_telling``: a controller may learn from its loss.  ``degraded`` is why the teacher was not
    asked at the time, None of a draft that was kept.  ``known`` is how its loss comes to be known;
    ``legs`` are the request's own calls, ``samples`` how many drafts it was chosen from.
    ``over_at`` is when the request was over, by the steady clock.  ``is_last_try``: it was asked
    about in vain, and owed again.
    """

    context: Context
    served: Served
    chat: Chat
    draft: bytes
    said: str
    terms: Terms
    known: Known
    provenance: Provenance
    verdict: Verdict
    reason: Reason | None
    degraded: Degraded | None
    legs: Sequence[Leg]
    samples: int
    conversation: str | None
    is_telling: bool
    over_at: float
    is_last_try: bool = False

    @property
    def cascade(self) -> str:
        """The cascade's name."""
        return self.served.cascade.name

    @property
    def merit(self) -> float | None:
        """What was held against the threshold; None where its form alone spoke for it."""
        return None if self.verdict.merit is None else self.verdict.merit.value

    @property
    def size(self) -> int:
        """About how many bytes it keeps."""
        return len(self.chat.body) + len(self.draft)

    def grade(self, loss: float) -> Grade | None:
        """What its loss tells a controller; None where it tells nothing."""
        if not self.is_telling:
            return None
        grade = self.terms.grade(self.known, loss, self.merit, conversation=self.conversation)
        if grade is None:
            return None
        return replace(grade, late=max(0.0, self.context.clock() - self.over_at))


def case_of(account: Account, known: Known, *, is_telling: bool = True) -> Case | None:
    """The draft that a request was answered with; None where there is nothing to ask about."""
    served, chat, terms, verdict = account.served, account.chat, account.terms, account.legs.verdict
    draft, said, given = draft_of(account), draft_said(account), account.given
    if served is None or chat is None or terms is None or verdict is None:
        return None
    if draft is None or said is None:
        return None
    return Case(
        context=account.context,
        served=served,
        chat=chat,
        draft=draft,
        said=said,
        terms=terms,
        known=known,
        provenance=account.provenance(served),
        verdict=verdict,
        reason=account.reason,
        degraded=account.course.degraded,
        legs=tuple(account.legs.made),
        samples=1 if given is None or given.draft is None else given.draft.samples,
        conversation=account.conversation,
        is_telling=is_telling,
        over_at=account.over_at,
    )


def draft_of(account: Account) -> bytes | None:
    """The student's whole draft, as a chat completion; None where there is none.

    Of a stream that went out it is there only where all of it was wanted from its beginning.
    """
    given, draft = account.given, account.course.draft
    if given is not None:
        return None if given.draft is None else given.draft.body
    return draft.assembly.body() if draft is not None and draft.is_over else None


def draft_said(account: Account) -> str | None:
    """What counts of the student's whole draft; None where there is none."""
    given, draft = account.given, account.course.draft
    if given is not None:
        return None if given.draft is None else said(given.draft)
    if draft is None or not draft.is_over:
        return None
    return said_in(draft.assembly.body()) if draft.words is None else draft.words


def left_said(account: Account) -> str | None:
    """The same of a draft whose client left while the teacher was asked."""
    waiting = account.legs.draft
    return draft_said(account) if waiting is None else said(waiting)


def taught_said(account: Account) -> str | None:
    """What counts of the teacher's answer to the client; None where it gave none of its own."""
    given, course = account.given, account.course
    if given is not None:
        return said(given.completion) if given.served_by is Role.TEACHER else None
    if course.answer is None or course.splice is not None:
        return None
    return said_in(course.answer.body())


def said(completion: Completion) -> str:
    """What counts of an answer; nothing where it is several."""
    choices = completion.choices
    return substance_of(choices[0]) if len(choices) == 1 else ""


def said_in(body: bytes) -> str:
    """The same of one that is not read yet; nothing where it cannot be."""
    try:
        return said(read_completion(body))
    except (ValueError, RecursionError):
        return ""
