"""Asks a candidate's server what was asked when it was measured: does it say the same."""

import asyncio
from collections.abc import Sequence

import msgspec

from distill.smoke import Example, Said, Tolerance, difference, most_differing
from gateway.cascades import LoadedCascade
from gateway.errors import GatewayError, RequestError, UpstreamRefused
from gateway.wire.chat import parse_chat
from understudy.distill.answering import ask_all, reason_of
from understudy.telling import CommandError


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
        replies = asyncio.run(ask_all(loaded, chats))
    except (RequestError, UpstreamRefused) as refusal:
        raise CommandError(f"--records: a request is refused: {refusal.message}") from None
    except GatewayError as failure:
        raise NotTheSame(f"the server does not answer: {reason_of(failure)}") from None
    found = [
        told
        for example, said in zip(examples, replies, strict=True)
        if (told := difference(example, Said(*said), loaded.policy, tolerance)) is not None
    ]
    most = most_differing(len(examples), tolerance)
    counted = f"{len(found)} of {len(examples)} answers differ from the records, {most} may"
    if len(found) > most:
        raise NotTheSame(f"{counted}: what is served is not what was evaluated: {found[0]}")
    return counted


class NotTheSame(Exception):
    """The server serves something else than what was evaluated."""
