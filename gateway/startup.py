"""What the gateway asks model servers when it starts: off the request path, billed as audits."""

from collections.abc import Coroutine
from functools import partial

from gateway.answer import Cascade
from gateway.api.context import Context
from gateway.facts import CachedTokensAsked, TeacherProbed
from gateway.legs import Model
from gateway.upstream.cached_tokens import NOT_ASKED, CachedTokens, ask_for_cached_tokens
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.probe import NOT_PROBED, Continuation, probe
from gateway.upstream.questions import Attempt, Question, ask_until_answered
from routing.vocabulary import Handover

RETRY_SECONDS = 30.0


def ask_servers(context: Context) -> None:
    """Ask in the background what has to be known of the servers, until each has answered."""
    for served in context.served.values():
        cascade = served.cascade
        if is_to_continue(cascade) and not cascade.teacher.chat.can_continue:
            _start(context, _learn_to_continue(context, cascade), "the probe of a teacher ended")
        for model in (cascade.student, cascade.teacher):
            if is_cache_priced(model):
                _start(context, _see_cache(context, cascade, model), "asking for a cache ended")


def is_to_continue(cascade: Cascade) -> bool:
    """Whether the teacher is to go on with answers that are half out."""
    return cascade.streaming.handover is Handover.CONTINUE


def is_cache_priced(model: Model) -> bool:
    """Whether it makes a difference to the bill that a part of a prompt was cached."""
    price = model.price
    return price is not None and not model.is_by_time and price.cached_input != price.input


def _start(context: Context, asking: Coroutine[None, None, None], message: str) -> None:
    context.go_on(_guarded(context, asking, message))


async def _guarded(context: Context, asking: Coroutine[None, None, None], message: str) -> None:
    try:
        await asking
    except Exception:
        context.observer.log.exception("bug", message=message)


async def _learn_to_continue(context: Context, cascade: Cascade) -> None:
    teacher = cascade.teacher

    def tell(attempt: Attempt[Continuation]) -> None:
        found = attempt.found
        fact = TeacherProbed(
            cascade.name, attempt.number, found.can_continue, found.saw, attempt.legs
        )
        context.observer.teacher_probed(fact)

    question = Question(partial(probe, teacher), NOT_PROBED)
    answer = await ask_until_answered(question, context.clock, tell, RETRY_SECONDS)
    if isinstance(teacher.chat, OpenAIModel):
        teacher.chat.can_continue = answer.can_continue is True


async def _see_cache(context: Context, cascade: Cascade, model: Model) -> None:
    def tell(attempt: Attempt[CachedTokens]) -> None:
        found = attempt.found
        fact = CachedTokensAsked(
            cascade.name, model.role, attempt.number, found.is_reported, found.saw, attempt.legs
        )
        context.observer.cached_tokens_asked(fact)

    question = Question(partial(ask_for_cached_tokens, model), NOT_ASKED)
    await ask_until_answered(question, context.clock, tell, RETRY_SECONDS)
