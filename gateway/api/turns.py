"""A request as a turn of a conversation: what earlier turns say of it, and what it came to.

Nothing here is asked of cascades that do without.
"""

from collections.abc import Sequence

from starlette.types import Scope

from gateway.answer_stream import Course
from gateway.api.account import Account
from gateway.api.arms import named_in
from gateway.api.context import Served
from gateway.facts import Ending, RequestSettled
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, calls_in, read_completion
from gateway.wire.conversation import Words, id_given, words_of
from routing.conversation import Turn, Whose
from routing.vocabulary import Handover, Reason, Role

# With these the teacher answers, and nobody found that the draft is not enough.
_UNDECIDED = frozenset({None, Reason.PINNED, Reason.HOLDOUT, Reason.STICKY})


async def begin_turn(account: Account, chat: Chat, served: Served, scope: Scope) -> None:
    """Find out which conversation a request goes on with."""
    talks = served.talks
    if talks is None:
        return
    context, tenant = account.context, account.tenant
    whose = talks.whose(None if tenant is None else tenant.name)
    told = await context.aside.for_body(chat.body, _told_by, chat, named_in(scope), whose)
    if told is None:
        return
    turn = account.turn = talks.begin(told, context.clock())
    if turn.conversation is not None:
        account.conversation = turn.conversation.hex()


def _told_by(chat: Chat, named: str | None, whose: Whose) -> bytes | Words | None:
    """What tells the conversation from others: the id that its name makes, or its words."""
    conversation = id_given(chat, named, whose)
    return words_of(chat, whose) if conversation is None else conversation


def end_turn(account: Account) -> None:
    """Note what an answered request came to, so that the next turn knows."""
    turn, fact, served = account.turn, account.fact, account.served
    if turn is None or fact is None or not fact.is_answered or served is None:
        return
    context = account.context
    if served.talks is not None:
        answer = None if turn.words is None else _answer(account)
        served.talks.end(turn, _came_to(fact), answer, context.clock())
    if turn.conversation is not None:
        context.observer.turn_answered(fact)


def _came_to(fact: RequestSettled) -> Turn:
    is_judged = fact.merit is not None and fact.reason is not Reason.PINNED
    is_escalated = fact.ending is Ending.ESCALATED and fact.reason not in _UNDECIDED
    return Turn(
        is_enough=fact.is_draft_enough if is_judged else None,
        is_escalated=is_escalated,
        student_read=_read(fact, Role.STUDENT),
        teacher_read=_read(fact, Role.TEACHER),
    )


def _read(fact: RequestSettled, role: Role) -> int | None:
    """What a model has in its cache after its last call; None where it has nothing of this."""
    used = [leg.usage for leg in fact.legs if leg.role is role and leg.usage is not None]
    if not used:
        return None
    return used[-1].input + (used[-1].output if fact.served_by is role else 0)


def _answer(account: Account) -> tuple[str, Sequence[str]] | None:
    """The text that the client got, and which functions it calls; None where nobody can say."""
    if account.given is not None:
        return _said(account.given.completion)
    course = account.course
    if course.served_by is Role.STUDENT:
        draft = course.draft
        if draft is None:
            return None
        return _said_in(draft.assembly.body()) if draft.words is None else (draft.words, ())
    return _taught(course)


def _taught(course: Course) -> tuple[str, Sequence[str]] | None:
    said = None if course.answer is None else _said_in(course.answer.body())
    if said is None or course.splice is None or course.splice.handover is Handover.RESTART:
        return said
    prefix, (text, calls) = course.splice.prefix, said
    return prefix.text + text.removeprefix(prefix.seam), calls


def _said_in(body: bytes) -> tuple[str, Sequence[str]] | None:
    try:
        return _said(read_completion(body))
    except (ValueError, RecursionError):
        return None


def _said(completion: Completion) -> tuple[str, Sequence[str]] | None:
    """None where it is several answers: nobody knows with which the client goes on."""
    if len(completion.choices) != 1:
        return None
    choice = completion.choices[0]
    return choice.message.content or "", calls_in(choice)
