"""The demo's stand-in teacher: an OpenAI-compatible server that solves the demo's tasks by rule.

It also writes new questions of their kinds and judges answers to them: see ``teacher_tasks``.  It
is no model and says so.  It exists because no strong model fits a small machine; a real one
takes its place with ``--teacher-url``, ``--teacher-model`` and ``--teacher-key``.
"""

import argparse
import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from understudy.demo.lifeline import follow_parent
from understudy.demo.listening import add_options, chosen_host
from understudy.demo.teacher_tasks import judge_answers, write_questions
from understudy.demo.teacher_wire import (
    MODEL,
    STREAM_END,
    Chat,
    Refusal,
    Reply,
    completion,
    error_body,
    pieces_of,
    prompt_tokens,
    read_chat,
    stream_events,
)
from understudy.demo.workload import Message, solve

OWNER = "understudy-demo-stand-in"
DESCRIPTION = "Not a model: a stand-in that solves the demo's own tasks by rule."
CANNOT = (
    "I am the demo's stand-in teacher, not a model: I only solve the demo's own tasks. "
    "Start the demo with --teacher-url, --teacher-model and --teacher-key "
    "to use a real model in my place."
)
_COUNTING = re.compile(r"Write the numbers from (\d{1,6}) to (\d{1,6}), separated by commas\.")
MOST_NUMBERS = 1000
MAX_BODY_BYTES = 2**20
# Longer than a client keeps an idle connection, so that none is closed in a client's face.
KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly the stand-in pretends to think: before the first token, and from then on."""

    delay_seconds: float = 0.0
    tokens_per_second: float | None = None

    def seconds_for(self, tokens: int) -> float:
        """Seconds that ``tokens`` take once the first has come; 0 without a rate."""
        return tokens / self.tokens_per_second if self.tokens_per_second else 0.0


def create_teacher(pace: Pace | None = None) -> Starlette:
    """The stand-in as an ASGI application: models, chat completions and health."""
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/v1/models", _models),
            Route("/v1/chat/completions", _completer(pace or Pace()), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _render_error, Refusal: _render_error},
    )


def _completer(pace: Pace) -> Callable[[Request], Awaitable[Response]]:
    numbers = itertools.count(1)

    async def complete(request: Request) -> Response:
        chat = read_chat(await _body(request))
        reply = _answer(chat, next(numbers))
        await asyncio.sleep(pace.delay_seconds)
        if chat.stream:
            events = _paced(stream_events(reply, chat.told_usage), pace)
            return StreamingResponse(events, media_type="text/event-stream")
        await asyncio.sleep(pace.seconds_for(len(reply.pieces)))
        return _json(200, completion(reply))

    return complete


def _answer(chat: Chat, number: int) -> Reply:
    verdict = judge_answers(chat.messages)
    pieces = pieces_of(_text(chat)) if verdict is None else (verdict.word,)
    limits = (chat.max_tokens, chat.max_completion_tokens)
    most = min((limit for limit in limits if limit is not None), default=len(pieces))
    return Reply(
        id=f"chatcmpl-stand-in-{number}",
        created=int(time.time()),
        pieces=pieces[:most],
        finish_reason="length" if most < len(pieces) else "stop",
        prompt_tokens=prompt_tokens(chat.messages),
        logprobs=verdict.logprobs if verdict is not None and chat.logprobs else None,
    )


def _text(chat: Chat) -> str:
    """What there is to say, or what of it is missing where the first words are given."""
    given = chat.given
    asked = chat.messages if given is None else chat.messages[:-1]
    answer = solve(asked) or _count(asked) or write_questions(asked, chat.seed) or CANNOT
    if given is None:
        return answer
    # What does not begin like the answer was wrong: the answer follows it, on a line of its own.
    return answer.removeprefix(given) if answer.startswith(given) else f"\n{answer}"


def _count(messages: Sequence[Message]) -> str | None:
    """The numbers that the last message asks for: who wants to know whether a server goes on from
    given words asks for something that everybody knows."""
    asked = str(messages[-1].get("content")) if messages else ""
    found = _COUNTING.fullmatch(asked)
    if found is None:
        return None
    numbers = range(int(found[1]), int(found[2]) + 1)
    return ", ".join(str(number) for number in numbers[:MOST_NUMBERS])


async def _paced(events: Iterable[bytes], pace: Pace) -> AsyncIterator[bytes]:
    for event in events:
        yield event
        await asyncio.sleep(pace.seconds_for(1))
    yield STREAM_END


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise Refusal(413, message, param=None, code="request_too_large")
    return bytes(body)


async def _health(_request: Request) -> Response:
    return _json(200, {"status": "ok"})


async def _models(_request: Request) -> Response:
    model = {
        "id": MODEL,
        "object": "model",
        "created": 0,
        "owned_by": OWNER,
        "description": DESCRIPTION,
    }
    return _json(200, {"object": "list", "data": [model]})


async def _render_error(request: Request, error: Exception) -> Response:
    match error:
        case Refusal():
            body = error_body(str(error), param=error.param, code=error.code)
            return _json(error.status, body)
        case HTTPException():
            message = f"{request.method} {request.url.path}: {error.detail}"
            code = "method_not_allowed" if error.status_code == 405 else "not_found"
            response = _json(error.status_code, error_body(message, param=None, code=code))
            response.headers.update(error.headers or {})
            return response
        case _:
            raise error


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and serve until told to end, or until the parent ends."""
    parser = argparse.ArgumentParser(prog="understudy.demo.teacher", description=__doc__)
    add_options(parser)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before the first token")
    parser.add_argument("--tokens-per-second", type=float, help="unlimited without it")
    options = parser.parse_args(arguments)
    host = chosen_host(parser, options)
    follow_parent()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            create_teacher(Pace(options.delay_ms / 1000, options.tokens_per_second)),
            host=host,
            port=options.port,
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )


if __name__ == "__main__":
    main()
