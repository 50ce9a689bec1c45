"""Sends tasks to an OpenAI-compatible server through the official client, a few at a time."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import cast

import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionMessageParam

from understudy.demo.options import Model
from understudy.demo.workload import Task

CONCURRENCY = 4
STREAM_EVERY = 5  # No multiple of the number of families, so that each of them is streamed too.
TIMEOUT_SECONDS = 120.0
GROUP_HEADER = "x-understudy-group"


@dataclass(frozen=True, slots=True)
class Served:
    """What the gateway says of one answer: in headers, or in the last chunk of a stream.

    ``cost_usd`` is None where the gateway does not know it, ``degraded`` where it is not so.
    """

    request_id: str
    by: str
    cost_usd: Decimal | None
    degraded: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """One task's answer.  ``error`` is None where there is one, and then ``text`` is its text.

    ``served`` is None where no gateway answered; the token counts where no usage was told.
    """

    task: Task
    text: str = ""
    error: str | None = None
    served: Served | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether there is an answer and the task's checker accepts it."""
        return self.error is None and self.task.is_solved_by(self.text)


async def ask_all(
    model: Model,
    tasks: Iterable[Task],
    on_reply: Callable[[Reply], None],
    *,
    streams: bool = False,
    is_stored: bool = True,
) -> list[Reply]:
    """Ask every task of ``model``, ``CONCURRENCY`` at a time; replies in the order of the tasks.

    A task is drawn from ``tasks`` when its turn comes, so that who makes them can end the asking.
    ``on_reply`` is told of each as it comes.  With ``streams`` one request in ``STREAM_EVERY`` is
    streamed.  A request names its family as its group, which a gateway alone reads; where it is not
    to be stored, it says that as well, and leaves no pair.
    A request that fails is a reply with an error and is not tried again.
    """
    asked: list[Task] = []
    replies: dict[str, Reply] = {}
    waiting = iter(enumerate(tasks))
    async with openai.AsyncOpenAI(
        base_url=model.base_url,
        api_key=model.key or "none",
        max_retries=0,
        timeout=TIMEOUT_SECONDS,
        # A proxy that the environment names is for the world outside this machine.
        http_client=openai.DefaultAsyncHttpxClient(trust_env=not model.is_local),
    ) as client:

        async def work() -> None:
            for place, task in waiting:
                asked.append(task)
                is_stream = streams and place % STREAM_EVERY == STREAM_EVERY - 1
                wanted = _Wanted(model.name, is_stream, is_stored)
                reply = await _ask(client, task, wanted)
                replies[task.id] = reply
                on_reply(reply)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())
    return [replies[task.id] for task in asked]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Of which model an answer is wanted, and how."""

    model: str
    is_stream: bool
    is_stored: bool

    @property
    def extra_body(self) -> dict[str, object]:
        return {} if self.is_stored else {"store": False}


async def _ask(client: openai.AsyncOpenAI, task: Task, wanted: _Wanted) -> Reply:
    started = time.monotonic()
    try:
        if wanted.is_stream:
            reply = await _ask_streamed(client, task, wanted)
        else:
            reply = await _ask_plain(client, task, wanted)
    except openai.OpenAIError as error:
        reply = Reply(task, error=str(error) or type(error).__name__)
    return replace(reply, seconds=time.monotonic() - started)


async def _ask_plain(client: openai.AsyncOpenAI, task: Task, wanted: _Wanted) -> Reply:
    raw = await client.chat.completions.with_raw_response.create(
        model=wanted.model,
        messages=_messages(task),
        max_tokens=task.max_tokens,
        temperature=0,
        extra_headers={GROUP_HEADER: task.family},
        extra_body=wanted.extra_body,
    )
    completion = raw.parse()
    text = completion.choices[0].message.content or ""
    return _reply(task, text, _served(raw.headers), completion.usage)


async def _ask_streamed(client: openai.AsyncOpenAI, task: Task, wanted: _Wanted) -> Reply:
    raw = await client.chat.completions.with_raw_response.create(
        model=wanted.model,
        messages=_messages(task),
        max_tokens=task.max_tokens,
        temperature=0,
        extra_headers={GROUP_HEADER: task.family},
        extra_body=wanted.extra_body,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage = "", None
    told: Mapping[str, str | None] = {}
    async for chunk in raw.parse():
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        told = (chunk.model_extra or {}).get("understudy") or told
    return _reply(task, text, _served_stream(raw.headers, told), usage)


def _messages(task: Task) -> list[ChatCompletionMessageParam]:
    return cast(list[ChatCompletionMessageParam], list(task.messages))


def _reply(task: Task, text: str, served: Served | None, usage: CompletionUsage | None) -> Reply:
    return Reply(
        task,
        text=text,
        served=served,
        input_tokens=None if usage is None else usage.prompt_tokens,
        output_tokens=None if usage is None else usage.completion_tokens,
    )


def _served(headers: Mapping[str, str]) -> Served | None:
    by = headers.get("x-understudy-served-by")
    if by is None:
        return None
    cost = headers.get("x-understudy-cost-usd")
    return Served(
        request_id=headers["x-request-id"],
        by=by,
        cost_usd=None if cost is None else Decimal(cost),
        degraded=headers.get("x-understudy-degraded"),
    )


def _served_stream(headers: Mapping[str, str], told: Mapping[str, str | None]) -> Served | None:
    """The headers of a stream leave before its cost is known; its last chunk tells all."""
    by, cost = told.get("served_by"), told.get("cost_usd")
    if by is None:
        return None
    return Served(
        request_id=headers["x-request-id"],
        by=by,
        cost_usd=None if cost is None else Decimal(cost),
        degraded=told.get("degraded"),
    )
