"""Asks the teacher off the request path, and a comparator's questions: after whoever cannot wait.

A failure is tried once more after a moment; then there is no answer, which is an answer of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec import structs

from gateway.audits.state import Audits
from gateway.errors import UpstreamError, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import Completion
from routing.comparators import Ask, Asked, Comparator, NoScore, Question, Request
from routing.vocabulary import Denied

# Long answers take tens of milliseconds to compare, for which requests need not wait.
LONG_CHARACTERS = 4000

T = TypeVar("T")


class NoAnswer(Exception):
    """Whoever was asked gave no answer, in the end."""


class NeverAnswered(NoAnswer):
    """It is there, and would refuse the same again."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom one audit asks, and the legs that note it."""

    teacher: Model
    audits: Audits
    legs: Legs

    async def answer(self, chat: Chat) -> Completion:
        """The teacher's answer to a request.  Raises NoAnswer.

        The first call must have been reserved.
        """
        later = structs.replace(chat, priority=self.audits.priority)

        async def again() -> Completion:
            if isinstance(self.legs.reserve(self.teacher), Denied):
                raise NoAnswer
            return await self.legs.ask(self.teacher, later)

        return await self._insist(lambda: self.legs.ask(self.teacher, later), again)

    async def score(
        self, comparator: Comparator, chat: Chat, left: str, right: str
    ) -> float | None:
        """How far two answers to a request say the same; None where that cannot be read.

        Raises NoAnswer.
        """
        # Only who is asked reads the question, which may be at the end of much.
        asked = Question(question_of(chat) if self.audits.is_asking else "")
        if len(left) + len(right) < LONG_CHARACTERS:
            begun = comparator.begin(asked, left, right)
        else:
            begun = await asyncio.to_thread(comparator.begin, asked, left, right)
        if not isinstance(begun, Ask):
            return begun.value
        replies = [await self._reply(request) for request in begun.requests]
        finished = comparator.finish(replies)
        return None if isinstance(finished, NoScore) else finished.value

    async def _reply(self, request: Request) -> bytes:
        if request.asked is Asked.EMBEDDER:
            embedder = self.audits.embedder
            if embedder is None:
                raise NoAnswer

            async def embed() -> bytes:
                return await embedder.embed(request.fields)

            return await self._insist(embed, embed)
        body = msgspec.json.encode({**request.fields, "model": "judge"})
        if isinstance(self.legs.reserve(self.teacher), Denied):
            raise NoAnswer
        return (await self.answer(parse_chat(body))).body

    async def _insist(
        self, first: Callable[[], Awaitable[T]], again: Callable[[], Awaitable[T]]
    ) -> T:
        try:
            return await first()
        except UpstreamRefused:
            raise NeverAnswered from None
        except UpstreamError:
            await asyncio.sleep(self.audits.retry_seconds)
        try:
            return await again()
        except UpstreamRefused:
            raise NeverAnswered from None
        except UpstreamError:
            raise NoAnswer from None


class _Part(msgspec.Struct):
    text: str | None = None


class _Said(msgspec.Struct):
    content: str | list[_Part] | None = None


_messages = msgspec.json.Decoder(list[_Said])


def question_of(chat: Chat) -> str:
    """What was asked, for a judge to read: the words of the last message."""
    try:
        content = _messages.decode(chat.messages)[-1].content
    except msgspec.ValidationError:  # a model server may read what nobody here has heard of
        return ""
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.text)
    return content or ""
