"""A generation's server, by the gateway's own client: does it answer for its model, and what.

What the core can do alone: a rollback is begun wherever a gateway runs.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from gateway.building import build_model
from gateway.cascades import LoadedCascade, of_generation
from gateway.config_file import ConfigError
from gateway.errors import GatewayError, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.upstream.pool import ServerPool
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import drafts_of, text_of
from routing.rollout import Generation
from routing.vocabulary import Draft, Role
from understudy.telling import CommandError


def with_student(loaded: LoadedCascade, generation: Generation) -> LoadedCascade:
    """The cascade as gateways serve it with a generation.

    Raises CommandError where they would refuse to.
    """
    try:
        return of_generation(loaded, generation)
    except ConfigError as error:
        raise CommandError(
            f"gateways would refuse generation {generation.number}, {generation.version}: {error}"
        ) from None


def answers(loaded: LoadedCascade) -> str | None:
    """Why the cascade's student does not answer for its model, None where it does."""
    fields = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 1}
    asked = parse_chat(msgspec.json.encode({**fields, "model": loaded.name}))
    try:
        asyncio.run(ask_all(loaded, [asked]))
    except GatewayError as failure:
        return reason_of(failure)
    return None


async def ask_all(loaded: LoadedCascade, chats: Sequence[Chat]) -> list[tuple[str, Draft]]:
    """What the cascade's student says to each, and its draft.  Raises GatewayError.

    One after the other: what shares a batch rounds otherwise.
    """
    model = build_model(loaded, Role.STUDENT, lambda _: None)
    try:
        return [await _ask(model, chat) for chat in chats]
    finally:
        if isinstance(model.chat, ServerPool):
            model.chat.close()


async def _ask(model: Model, chat: Chat) -> tuple[str, Draft]:
    completion = await Legs(time.monotonic).ask(model, chat)
    (draft, *_) = drafts_of(completion, chat)
    return text_of(completion.choices[0]), draft


def reason_of(failure: GatewayError) -> str:
    """Why a server did not answer, for people."""
    return failure.message if isinstance(failure, UpstreamRefused) else failure.detail()
