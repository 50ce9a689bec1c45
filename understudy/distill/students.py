"""Asks a generation's server, with the gateway's own client: does it answer, and what."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from distill.smoke import Example, Said, Tolerance, difference, most_differing
from gateway.building import build_model
from gateway.cascades import LoadedCascade, of_generation
from gateway.config_file import ConfigError
from gateway.errors import GatewayError, RequestError, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.upstream.openai import OpenAIModel
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import drafts_of, text_of
from routing.rollout import Generation
from routing.vocabulary import Role
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
        asyncio.run(_ask_all(loaded, [asked]))
    except GatewayError as failure:
        return _told(failure)
    return None


def smoke_test(loaded: LoadedCascade, examples: Sequence[Example], tolerance: Tolerance) -> str:
    """Ask the cascade's student the examples again; what came of it, in a sentence.

    Raises CommandError where the server fails or refuses one, and NotTheSame where it serves
    something else than what was recorded.
    """
    try:
        chats = [
            parse_chat(msgspec.json.encode({**one.request, "model": loaded.name}))
            for one in examples
        ]
        replies = asyncio.run(_ask_all(loaded, chats))
    except (RequestError, UpstreamRefused) as refusal:
        raise CommandError(f"--records: a request is refused: {refusal.message}") from None
    except GatewayError as failure:
        raise NotTheSame(f"the server does not answer: {_told(failure)}") from None
    found = [
        told
        for example, said in zip(examples, replies, strict=True)
        if (told := difference(example, said, loaded.policy, tolerance)) is not None
    ]
    most = most_differing(len(examples), tolerance)
    counted = f"{len(found)} of {len(examples)} answers differ from the records, {most} may"
    if len(found) > most:
        raise NotTheSame(f"{counted}: what is served is not what was evaluated: {found[0]}")
    return counted


class NotTheSame(Exception):
    """The server serves something else than what was evaluated."""


async def _ask_all(loaded: LoadedCascade, chats: Sequence[Chat]) -> list[Said]:
    """One after the other: what shares a batch rounds otherwise."""
    model = build_model(loaded, Role.STUDENT, lambda _: None)
    try:
        return [await _ask(model, chat) for chat in chats]
    finally:
        if isinstance(model.chat, OpenAIModel):
            model.chat.close()


async def _ask(model: Model, chat: Chat) -> Said:
    completion = await Legs(time.monotonic).ask(model, chat)
    (draft, *_) = drafts_of(completion, chat)
    return Said(text_of(completion.choices[0]), draft)


def _told(failure: GatewayError) -> str:
    return failure.message if isinstance(failure, UpstreamRefused) else failure.detail()
