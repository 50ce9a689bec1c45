"""What the gateway asks model servers when it starts: off the request path, billed as audits."""

from collections.abc import Coroutine, Iterable
from dataclasses import replace
from functools import partial

from gateway.answer import Cascade
from gateway.api.context import Context
from gateway.legs import Model
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.upstream.cached_tokens import NOT_ASKED, CachedTokens, ask_for_cached_tokens
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool
from gateway.upstream.probe import NOT_PROBED, Continuation, probe
from gateway.upstream.questions import Attempt, Question, ask_until_answered
from routing.vocabulary import Handover

RETRY_SECONDS = 30.0


def ask_servers(context: Context) -> None:
    """Ask in the background what has to be known of the servers, until each has answered."""
    for served in context.served.values():
        cascade = served.cascade
        if is_to_continue(cascade):
            for server, alone in _each(cascade.teacher):
                if not server.can_continue:
                    asking = _learn_to_continue(context, cascade, server, alone)
                    _start(context, asking, "the probe of a teacher ended")
        for model in (cascade.student, cascade.teacher):
            if is_cache_priced(model):
                telling: dict[int, bool] = {server.number: False for server, _ in _each(model)}
                for server, alone in _each(model):
                    asking = _see_cache(context, cascade, (server, alone), telling)
                    _start(context, asking, "asking for a cache ended")


def _each(model: Model) -> Iterable[tuple[OpenAIModel, Model]]:
    """Each of a model's servers, and the model as only that one has it."""
    pool = model.chat
    if isinstance(pool, ServerPool):
        for server in pool.servers:
            yield server, replace(model, chat=pool.alone(server))


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


async def _learn_to_continue(
    context: Context, cascade: Cascade, server: OpenAIModel, alone: Model
) -> None:
    def tell(attempt: Attempt[Continuation]) -> None:
        found = attempt.found
        server.can_continue = found.can_continue is True
        fact = TeacherProbed(
            cascade=cascade.name,
            attempt=attempt.number,
            can_continue=found.can_continue,
            saw=found.saw,
            legs=attempt.legs,
            server=server.endpoint.base_url,
            do_all_continue=cascade.teacher.chat.can_continue,
        )
        context.observer.teacher_probed(fact)

    question = Question(partial(probe, alone), NOT_PROBED)
    await ask_until_answered(question, context.clock, tell, RETRY_SECONDS)


async def _see_cache(
    context: Context, cascade: Cascade, asked: tuple[OpenAIModel, Model], telling: dict[int, bool]
) -> None:
    """``telling`` says of each of the model's servers, by number, whether it was seen to tell."""
    server, alone = asked

    def tell(attempt: Attempt[CachedTokens]) -> None:
        found = attempt.found
        telling[server.number] = found.is_reported is True
        fact = CachedTokensAsked(
            cascade=cascade.name,
            role=alone.role,
            attempt=attempt.number,
            is_reported=found.is_reported,
            saw=found.saw,
            legs=attempt.legs,
            server=server.endpoint.base_url,
            do_all_tell=all(telling.values()),
        )
        context.observer.cached_tokens_asked(fact)

    question = Question(partial(ask_for_cached_tokens, alone), NOT_ASKED)
    await ask_until_answered(question, context.clock, tell, RETRY_SECONDS)
