"""Clients of the Service: some read streams, some ask again and again on a connection they keep.

None of them tries anything a second time, so that what a gateway or a balancer loses is lost.
"""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.fakes.chunks import chunk
from tests.fakes.script import ROLE, Raw, Words, content_of, entry, finish, payloads
from tests.fakes.upstream import SURE, UNSURE, Reply, completion

KEPT, ESCALATED = "keep", "escalate"  # what a question says that is to become of its draft
WINDOW = ["word "] * 20  # enough for the verdict on a stream
SLOW = 8  # words of an answer that take their time
SECONDS_EACH = 3.5  # so that half a minute of a stream is still to come when a pod ends
TIMEOUT_SECONDS = 60.0
# Between two requests.  Shorter than the delay, in which each kept connection hears of its end.
PAUSE_SECONDS = 0.0, 0.4


def student(pace: float, request: Mapping[str, Any]) -> Reply:
    """A draft that is sure or not, as the question wishes."""
    is_sure = KEPT in request["messages"][-1]["content"]
    return _reply("student", pace, SURE if is_sure else UNSURE)


def teacher(pace: float, _: Mapping[str, Any]) -> Reply:
    return _reply("teacher", pace, SURE)


def _reply(name: str, pace: float, logprob: float) -> Reply:
    opening = chunk({"content": "".join(WINDOW)}, [entry(word, logprob) for word in WINDOW])
    slow = Words([f"{name} "] * SLOW, logprob, seconds_each=SECONDS_EACH * pace)
    return Reply(
        body=completion(f"said by the {name}", logprob), steps=[ROLE, Raw(opening), slow, *finish()]
    )


@dataclass
class Told:
    """What clients were given: ids of requests by who answered them in full, and what was lost.

    ``is_broken`` counts what is lost apart: for as long as a fault is on that no gateway can help.
    """

    by_student: set[str] = field(default_factory=set)
    by_teacher: set[str] = field(default_factory=set)
    streams: int = 0
    lost: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    is_broken: bool = False

    def note(self, request_id: str, served_by: str) -> None:
        (self.by_teacher if served_by == "teacher" else self.by_student).add(request_id)


@dataclass(frozen=True)
class Question:
    """One request, with its id and who is to answer it."""

    request_id: str
    answered_by: str
    body: Mapping[str, Any]


@dataclass
class Callers:
    """Clients at one address, each with a connection of its own."""

    url: str
    key: str
    model: str
    pace: float
    told: Told = field(default_factory=Told)
    open_streams: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _dice: random.Random = field(default_factory=lambda: random.Random(1))
    _is_over: bool = False

    @contextlib.asynccontextmanager
    async def calling(self, streams: int, others: int) -> AsyncIterator[Told]:
        """So many of each for as long as the block runs; each ends what it has begun."""
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(self._keep_calling(is_stream=True))
            for _ in range(others):
                group.create_task(self._keep_calling(is_stream=False))
            try:
                yield self.told
            finally:
                self._is_over = True

    async def _keep_calling(self, *, is_stream: bool) -> None:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, limits=limits, timeout=TIMEOUT_SECONDS
        ) as client:
            while not self._is_over:
                question = self._question(is_stream=is_stream)
                try:
                    ask = self._stream if is_stream else self._whole
                    await ask(client, question)
                except (httpx.HTTPError, AssertionError) as error:
                    lost = self.told.broken if self.told.is_broken else self.told.lost
                    lost.append(f"{question.request_id}: {type(error).__name__} {error}")
                await asyncio.sleep(self._dice.uniform(*PAUSE_SECONDS))

    def _question(self, *, is_stream: bool) -> Question:
        number = next(self._numbers)
        wish, who = ((KEPT, "student"), (ESCALATED, "teacher"))[number % 2]
        content = f"{wish} what answers {number}"
        body = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        return Question(f"request-{number}", who, body | ({"stream": True} if is_stream else {}))

    async def _whole(self, client: httpx.AsyncClient, question: Question) -> None:
        response = await client.post(
            "/v1/chat/completions",
            json=question.body,
            headers={"x-request-id": question.request_id},
        )
        assert response.status_code == 200, response.text
        served_by = response.headers["x-understudy-served-by"]
        content = response.json()["choices"][0]["message"]["content"]
        assert (served_by, content) == (question.answered_by, f"said by the {served_by}")
        self.told.note(question.request_id, served_by)

    async def _stream(self, client: httpx.AsyncClient, question: Question) -> None:
        async with client.stream(
            "POST",
            "/v1/chat/completions",
            json=question.body,
            headers={"x-request-id": question.request_id},
        ) as response:
            self.open_streams += 1
            try:
                text = (await response.aread()).decode()
            finally:
                self.open_streams -= 1
        assert response.status_code == 200, text
        assert text.endswith("data: [DONE]\n\n"), text[-200:]
        chunks = payloads(text)
        assert "error" not in json.dumps(chunks[-1]), chunks[-1]
        served_by = chunks[-1]["understudy"]["served_by"]
        expected = "".join([*WINDOW, *[f"{served_by} "] * SLOW])
        assert (served_by, content_of(chunks)) == (question.answered_by, expected)
        self.told.streams += 1
        self.told.note(question.request_id, served_by)
