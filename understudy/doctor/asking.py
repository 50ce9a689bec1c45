"""Asks one model what the doctor wants to know, by the very code with which the gateway asks."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from gateway.building import build_model, config_of, endpoints_of
from gateway.cascades import LoadedCascade
from gateway.errors import (
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.legs import Legs, Model
from gateway.startup import is_cache_priced
from gateway.upstream.cached_tokens import ask_for_cached_tokens
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool
from gateway.upstream.probe import QUESTION, Continuation, probe
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import evidence_in
from gateway.wire.samples import asking_for
from gateway.wire.usage import tells_cached_tokens
from routing.vocabulary import Handover, Need, Role
from understudy.doctor.calling import have_it_call
from understudy.doctor.findings import Cause, Fault
from understudy.doctor.listing import Listing, Unlisted
from understudy.doctor.seen import Answered, Evidence, Part, Seen, Wanted

# Enough that a server which streams sends several pieces.
ANSWER_TOKENS = 16
# What a server may refuse to add to a stream, in the order in which it is left out.
_LEAVING_OUT = (
    frozenset({Part.EVIDENCE}),
    frozenset({Part.RUNNING_USAGE}),
    frozenset({Part.EVIDENCE, Part.RUNNING_USAGE}),
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Interview:
    """A talk with one model on its only server, each of whose answers may take so many seconds."""

    loaded: LoadedCascade
    role: Role
    seconds: float
    legs: Legs

    @property
    def wanted(self) -> Wanted:
        """What the configuration wants of the model."""
        config = config_of(self.loaded, self.role)
        is_student = self.role is Role.STUDENT
        key = self.loaded.student_key if is_student else self.loaded.teacher_key
        return Wanted(
            role=self.role,
            model=config.model,
            has_running_usage=config.running_usage,
            handover=self.loaded.config.streaming.handover,
            samples=self.loaded.config.samples if is_student else 1,
            has_tools=Need.TOOLS not in self.loaded.config.student.cannot,
            is_cache_priced=is_cache_priced(self._model(frozenset())),
            has_key=key is not None,
        )

    async def hold(self, listing: Listing | Unlisted) -> Seen:
        """Ask everything, as far as there is any sense in it; the calls are noted in ``legs``."""
        seen = await self._see_streams(listing)
        name = config_of(self.loaded, self.role).model
        is_there = isinstance(listing, Listing) and name in listing.models
        if isinstance(seen.streamed, Fault) and (seen.streamed.is_away or not is_there):
            return seen  # it would only be another wait, or the same answer once more
        seen = replace(seen, whole=await self._ask(self._whole, seen.left_out))
        if isinstance(seen.whole, Fault) and seen.whole.is_away:
            return seen
        seen = replace(seen, is_cache_seen=await self._see_cache(seen))
        if self._is_to_call:
            called = await self._ask(lambda model: have_it_call(model, self.legs), seen.left_out)
            seen = replace(seen, called=called)
        return await self._see_more(seen)

    async def _see_streams(self, listing: Listing | Unlisted) -> Seen:
        """How it streams; where it refuses, what of the request it is that it refuses."""
        first = await self._ask(self._streamed, frozenset())
        seen = Seen(listing, first)
        if not (isinstance(first, Fault) and first.cause is Cause.REFUSED):
            return seen
        for left_out in _LEAVING_OUT:
            if left_out <= self._added:
                again = await self._ask(self._streamed, left_out)
                if isinstance(again, Answered):
                    return replace(seen, streamed=again, left_out=left_out, refusal=first.saw)
        return seen

    async def _see_more(self, seen: Seen) -> Seen:
        """What only some cascades want of a model."""
        samples = self.loaded.config.samples
        is_sampled = self.role is Role.STUDENT and samples > 1
        if is_sampled and isinstance(seen.whole, Answered):
            drafts = await self._ask(self._several, seen.left_out)
            seen = replace(seen, drafts=drafts)
        handover = self.loaded.config.streaming.handover
        is_to_continue = self.role is Role.TEACHER and handover is Handover.CONTINUE
        if is_to_continue and isinstance(seen.streamed, Answered):
            found = await self._ask(lambda model: probe(model, self.legs), seen.left_out)
            continuation = Continuation(None, found.saw) if isinstance(found, Fault) else found
            seen = replace(seen, continuation=continuation)
        return seen

    @property
    def _added(self) -> frozenset[Part]:
        """What the gateway adds to a request for a stream."""
        dialect = endpoints_of(self.loaded, self.role)[0].dialect
        return frozenset(
            part
            for part, is_added in (
                (Part.EVIDENCE, dialect.is_evidence_wanted),
                (Part.RUNNING_USAGE, dialect.has_running_usage),
            )
            if is_added
        )

    @property
    def _is_to_call(self) -> bool:
        student = self.loaded.config.student
        return self.role is Role.TEACHER or Need.TOOLS not in student.cannot

    async def _see_cache(self, seen: Seen) -> bool | None:
        """Whether it tells of cached tokens: where that changes the bill, asked until it must."""
        answers = [one for one in (seen.streamed, seen.whole) if isinstance(one, Answered)]
        if any(one.has_cached_tokens for one in answers):
            return True
        if not is_cache_priced(self._model(seen.left_out)):
            return False
        found = await self._ask(
            lambda model: ask_for_cached_tokens(model, self.legs), seen.left_out
        )
        return None if isinstance(found, Fault) else found.is_reported

    def _model(self, left_out: frozenset[Part]) -> Model:
        """The model as the gateway asks it, but for what is left out."""
        model = build_model(self.loaded, self.role, lambda _: None)
        if not left_out:
            return model
        endpoint = endpoints_of(self.loaded, self.role)[0]
        dialect = endpoint.dialect
        narrowed = replace(
            dialect,
            is_evidence_wanted=dialect.is_evidence_wanted and Part.EVIDENCE not in left_out,
            has_running_usage=dialect.has_running_usage and Part.RUNNING_USAGE not in left_out,
        )
        server = OpenAIModel(replace(endpoint, dialect=narrowed), time.monotonic, lambda _: None)
        return replace(model, chat=ServerPool([server], time.monotonic))

    async def _ask(
        self, ask: Callable[[Model], Awaitable[_T]], left_out: frozenset[Part]
    ) -> _T | Fault:
        """What came of one question.  Each has a connection of its own: none spoils another."""
        model = self._model(left_out)
        try:
            async with asyncio.timeout(self.seconds):
                return await ask(model)
        except UpstreamRefused as refusal:  # of a question that is no secret
            return Fault(refusal.message, cause=Cause.REFUSED)
        except GatewayError as failure:
            return Fault(failure.detail(), cause=_cause_of(failure))
        except TimeoutError:
            return Fault(f"no answer within {self.seconds:g} s", cause=Cause.AWAY)
        finally:
            if isinstance(model.chat, ServerPool):
                model.chat.close()

    async def _streamed(self, model: Model) -> Answered:
        leg = await self.legs.stream(model, _chat(is_stream=True))
        chunks: list[Chunk] = []
        try:
            while part := await leg.read():
                chunks.extend(part)
        finally:
            leg.close()
        tokens = [token for chunk in chunks for token in chunk.tokens]
        sure = [token for token in tokens if token.logprob is not None]
        words = [chunk for chunk in chunks if chunk.content or chunk.reasoning]
        return Answered(
            chunks=sum(bool(chunk.content) for chunk in chunks),
            evidence=Evidence(
                tokens=len(tokens),
                with_logprob=len(sure),
                fewest_candidates=min((len(token.top_logprobs) for token in sure), default=0),
            ),
            has_reasoning=any(chunk.reasoning for chunk in chunks),
            has_usage=leg.usage is not None,
            has_running_usage=bool(words) and words[0].usage is not None,
            has_cached_tokens=any(tells_cached_tokens(chunk.body) for chunk in chunks),
        )

    async def _whole(self, model: Model) -> Answered:
        chat = _chat(is_stream=False)
        completion = await self.legs.ask(model, chat)
        message = completion.choices[0].message
        judged, _ = evidence_in(completion.choices[0])
        return Answered(
            chunks=1,
            evidence=Evidence(
                # Where a server says nothing there are no tokens: one stands for the text.
                tokens=len(judged) or bool(message.content),
                with_logprob=len(judged),
                fewest_candidates=min((len(told.top_logprobs or ()) for told in judged), default=0),
            ),
            has_reasoning=bool(message.reasoning_content or message.reasoning),
            has_usage=completion.usage is not None,
            has_running_usage=False,
            has_cached_tokens=tells_cached_tokens(completion.body),
        )

    async def _several(self, model: Model) -> int:
        """How many drafts of one answer it writes."""
        chat = asking_for(_chat(is_stream=False, temperature=1), self.loaded.config.samples)
        return len((await self.legs.ask(model, chat)).choices)


def _cause_of(failure: GatewayError) -> Cause:
    """Whether it is the server's day, or something that somebody has to mend."""
    is_down = isinstance(failure, UpstreamError) and failure.is_down
    is_away = is_down or isinstance(failure, UpstreamBusy | UpstreamFailed)
    return Cause.AWAY if is_away else Cause.BROKEN


def _chat(*, is_stream: bool, temperature: float = 0) -> Chat:
    fields = {
        "model": "doctor",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": temperature,
        "max_tokens": ANSWER_TOKENS,
        "stream": is_stream,
    }
    return parse_chat(msgspec.json.encode(fields))
