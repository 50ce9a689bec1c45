"""Two models that play a day at a platform: made answers of varying length and evidence.

What they say follows from the number in the question alone, so that two runs differ in timing only.
``python -m bench.actors`` prints its port and serves on 127.0.0.1 until its parent ends.  A POST to
``/away/ROLE`` takes a model away or brings it back.
"""

import asyncio
import json
import math
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from understudy.demo.lifeline import follow_parent

STUDENT, TEACHER = "student", "teacher"
PAUSE_SECONDS = {STUDENT: 0.004, TEACHER: 0.011}
SYSTEM_TOKENS = 320  # of every prompt, and in the cache from the second one on
FAILING_SHARE = 0.004
VERDICTS = ("yes", "no")  # with which an answer ends: the teacher's, and a student's that is wrong
WORDS = ("the", "order", "was", "sent", "on", "its", "way", "and", "should", "arrive", "today")


@dataclass(frozen=True, slots=True)
class Question:
    """How hard the question with that number is, in [0, 1], and how long its answers are."""

    number: int
    hardness: float
    tokens: int

    @property
    def is_answered_well(self) -> bool:
        """Whether the teacher would say the same as the student."""
        chance: float = 1 - 0.85 * self.hardness**1.3
        return random.Random(f"right {self.number}").random() < chance


def question(number: int) -> Question:
    """The question with that number.  From 1,000,000 on they are harder."""
    dice = random.Random(f"question {number}")
    hardness = dice.betavariate(0.9, 3.2 if number < 1_000_000 else 2.2)
    return Question(number, hardness, max(6, round(dice.lognormvariate(3.4, 0.5))))


def evidence(asked: Question) -> list[float]:
    """The log-probability of each token of the student's answer."""
    dice = random.Random(f"evidence {asked.number}")
    doubt = 0.02 + 0.9 * asked.hardness
    return [-min(dice.expovariate(1 / doubt), 9.0) for _ in range(asked.tokens)]


def logprob_entry(word: str, logprob: float) -> dict[str, Any]:
    """One place of an answer in vLLM's shape: the token and its rival."""
    rival = math.log(max(1 - math.exp(logprob), 1e-4) * 0.9)
    places = [{"token": word, "logprob": logprob}, {"token": " z", "logprob": rival}]
    places.sort(key=lambda each: -float(str(each["logprob"])))
    return {"token": word, "logprob": logprob, "top_logprobs": places}


def words(count: int) -> list[str]:
    """The text of so many tokens."""
    return [f" {WORDS[place % len(WORDS)]}" for place in range(count)]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a model says, and how it is asked for it."""

    role: str
    said: list[str]
    evidence: list[float] | None
    prompt_tokens: int

    def usage(self, output: int) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output,
            "total_tokens": self.prompt_tokens + output,
            "prompt_tokens_details": {"cached_tokens": SYSTEM_TOKENS // 16 * 16},
        }

    def logprobs(self, start: int, end: int) -> dict[str, Any] | None:
        if self.evidence is None:
            return None
        pairs = zip(self.said[start:end], self.evidence[start:end], strict=True)
        return {"content": [logprob_entry(*pair) for pair in pairs]}

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.said)}
        logprobs = self.logprobs(0, len(self.said))
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
        return {
            **self._envelope("chat.completion"),
            "choices": [choice],
            "usage": self.usage(len(self.said)),
        }

    def events(self) -> Iterator[dict[str, Any]]:
        yield self._chunk({"role": "assistant", "content": ""}, None, 0)
        for place, word in enumerate(self.said):
            yield self._chunk({"content": word}, self.logprobs(place, place + 1), place + 1)
        end = self._chunk({}, None, len(self.said))
        end["choices"][0]["finish_reason"] = "stop"
        yield end
        yield {
            **self._envelope("chat.completion.chunk"),
            "choices": [],
            "usage": self.usage(len(self.said)),
        }

    def _chunk(self, delta: object, logprobs: object, output: int) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return {
            **self._envelope("chat.completion.chunk"),
            "choices": [choice],
            "usage": self.usage(output),
        }

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-made", "object": kind, "created": 1767225600, "model": self.role}


def _answer(role: str, body: dict[str, Any]) -> _Answer:
    content = str(body["messages"][-1]["content"])
    found = re.search(r"\d+", content)
    asked = question(int(found[0]) if found else 0)
    longer = 1.0
    if role == TEACHER:
        longer = random.Random(f"longer {asked.number}").lognormvariate(0.2, 0.3)
    said = words(min(round(asked.tokens * longer), int(body.get("max_tokens") or 512)))
    said[-1] = f" {VERDICTS[role == STUDENT and not asked.is_answered_well]}"
    known = evidence(asked)[: len(said)] if role == STUDENT and body.get("logprobs") else None
    return _Answer(role, said, known, SYSTEM_TOKENS + len(content) // 4)


class Actors:
    """Both models on one port, each under a path of its own."""

    def __init__(self) -> None:
        self._away: set[str] = set()
        self._dice = random.Random(3)
        self.app = Starlette(
            routes=[
                Route("/{role}/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/away/{role}", self._switch, methods=["POST"]),
            ]
        )

    async def _switch(self, request: Request) -> Response:
        self._away ^= {str(request.path_params["role"])}
        return JSONResponse({"away": sorted(self._away)})

    async def _complete(self, request: Request) -> Response:
        role = str(request.path_params["role"])
        body = await request.json()
        if role in self._away:
            return JSONResponse({"error": {"message": "no such host", "code": 503}}, 503)
        if role == STUDENT and self._dice.random() < FAILING_SHARE:
            return JSONResponse({"error": {"message": "out of memory", "code": 500}}, 500)
        answer, pause = _answer(role, body), PAUSE_SECONDS[role]
        if body.get("stream"):
            return StreamingResponse(_played(answer, pause), media_type="text/event-stream")
        await asyncio.sleep(pause * len(answer.said))
        return JSONResponse(answer.whole())


async def _played(answer: _Answer, pause: float) -> AsyncIterator[bytes]:
    for event in answer.events():
        yield b"data: " + json.dumps(event).encode() + b"\n\n"
        await asyncio.sleep(pause)
    yield b"data: [DONE]\n\n"


def main() -> None:
    """Serve both models."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(Actors().app, log_level="warning", loop="uvloop", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    follow_parent()
    main()
