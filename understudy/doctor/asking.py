"""Asks one model what the doctor wants to know, by the very code with which the gateway asks."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec

from gateway.building import build_model
from gateway.cascades import LoadedCascade
from gateway.errors import GatewayError, UpstreamRefused, root_of, words_of
from gateway.legs import Legs, Model
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.probe import QUESTION, Continuation, probe
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import drafts_of
from gateway.wire.samples import asking_for
from gateway.wire.usage import tells_cached_tokens
from routing.vocabulary import Handover, Role
from understudy.doctor.findings import (
    Answered,
    Evidence,
    Fault,
    Finding,
    Seen,
    Texts,
    Unlisted,
    Wanted,
    findings_of,
    unreachable,
)

# Enough that a server which streams sends several pieces.
ANSWER_TOKENS = 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """Which model is asked, and how many seconds each of its answers may take."""

    loaded: LoadedCascade
    role: Role
    seconds: float


async def examine(question: Question, legs: Legs) -> list[Finding]:
    """Ask one model everything; the calls are noted in ``legs``."""
    loaded, role = question.loaded, question.role
    config = loaded.config.student if role is Role.STUDENT else loaded.config.teacher
    key = loaded.student_key if role is Role.STUDENT else loaded.teacher_key
    samples = loaded.config.samples if role is Role.STUDENT else 1
    handover = loaded.config.streaming.handover
    wanted = Wanted(role, config.model, config.running_usage, handover, samples)
    listing = await _listing(config.base_url, key, question.seconds)
    if isinstance(listing, Fault):
        return [unreachable(listing)]
    streamed = await _ask(question, lambda model: _streamed(model, legs))
    whole = await _ask(question, lambda model: _whole(model, legs))
    continuation = None
    is_wanted = role is Role.TEACHER and wanted.handover is Handover.CONTINUE
    if is_wanted and isinstance(streamed, Answered):
        found = await _ask(question, lambda model: probe(model, legs))
        continuation = Continuation(None, found.saw) if isinstance(found, Fault) else found
    drafts = None
    if samples > 1 and isinstance(whole, Answered):
        drafts = await _ask(question, lambda model: _several(model, samples, legs))
    return findings_of(wanted, Seen(listing, streamed, whole, continuation, drafts))


async def _listing(base_url: str, key: str | None, seconds: float) -> Texts | Unlisted | Fault:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        tls = ssl.create_default_context()  # as the gateway's: what this machine trusts
        async with httpx.AsyncClient(timeout=seconds, trust_env=False, verify=tls) as client:
            response = await client.get(base_url.rstrip("/") + "/models", headers=headers)
    except httpx.HTTPError as error:
        root = root_of(error)
        words = words_of(root) or str(root) or type(error).__name__
        return Fault(f"not reached: {words}", _advice_on(root))
    try:
        return [str(entry["id"]) for entry in response.raise_for_status().json()["data"]]
    except httpx.HTTPStatusError:
        return Unlisted(f"lists no models (status {response.status_code})")
    except (ValueError, KeyError, TypeError):
        return Unlisted("lists no models")


def _advice_on(root: BaseException) -> str:
    """What to do about a connection that was not made, or broke."""
    match root:
        case ssl.SSLCertVerificationError():
            return (
                "mend its certificate or the host in base_url, or have this machine trust who "
                "issued it: SSL_CERT_FILE names a file of such certificates"
            )
        case ssl.SSLError():
            return "what listens there speaks no TLS: say http:// in base_url, or mend its port"
        case socket.gaierror():
            return "no such host is known here: mend base_url, or this machine's name service"
        case ConnectionRefusedError():
            return "nothing listens there: start it, or mend host and port of base_url"
        case TimeoutError():
            return "mend base_url, look for a firewall in between, or give it more --timeout"
        case _:
            return "start it, or mend base_url: is it https:// there?"


async def _ask(question: Question, ask: Callable[[Model], Awaitable[_T]]) -> _T | Fault:
    """What came of one question.  Each has a connection of its own, so that none spoils another."""
    model = build_model(question.loaded, question.role, lambda _: None)
    try:
        async with asyncio.timeout(question.seconds):
            return await ask(model)
    except UpstreamRefused as refusal:  # of a question that is no secret
        return Fault(refusal.message)
    except GatewayError as failure:
        return Fault(failure.detail())
    except TimeoutError:
        return Fault(f"no answer within {question.seconds:g} s")
    finally:
        if isinstance(model.chat, OpenAIModel):
            model.chat.close()


async def _streamed(model: Model, legs: Legs) -> Answered:
    leg = await legs.stream(model, _chat(is_stream=True))
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


async def _whole(model: Model, legs: Legs) -> Answered:
    chat = _chat(is_stream=False)
    completion = await legs.ask(model, chat)
    (draft, *_) = drafts_of(completion, chat)
    message = completion.choices[0].message
    return Answered(
        chunks=1,
        evidence=Evidence(
            # Where a server says nothing there are no tokens to count: one stands for the text.
            tokens=len(draft.token_logprobs) or bool(message.content),
            with_logprob=len(draft.token_logprobs),
            fewest_candidates=min((len(row) for row in draft.top_logprobs), default=0),
        ),
        has_reasoning=bool(message.reasoning_content or message.reasoning),
        has_usage=completion.usage is not None,
        has_running_usage=False,
        has_cached_tokens=tells_cached_tokens(completion.body),
    )


async def _several(model: Model, samples: int, legs: Legs) -> int:
    """How many drafts of one answer it writes."""
    chat = _chat(is_stream=False, temperature=1)
    return len((await legs.ask(model, asking_for(chat, samples))).choices)


def _chat(*, is_stream: bool, temperature: float = 0) -> Chat:
    fields = {
        "model": "doctor",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": temperature,
        "max_tokens": ANSWER_TOKENS,
        "stream": is_stream,
    }
    return parse_chat(msgspec.json.encode(fields))
