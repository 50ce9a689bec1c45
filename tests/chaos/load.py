"""Load by the official client: threads that ask until they are told to stop, and remember."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

import openai
from openai.types.chat import ChatCompletionMessageParam

WORKERS = 8
MOST_REQUESTS = 2_000  # of one worker, whatever happens
PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Capital of France?"}]


@dataclass
class Delivered:
    """Request ids by who answered them in full; those of whole answers and of streams alike.

    ``ended`` is when, by the steady clock; ``asked`` counts all requests, answered or not.
    """

    by_teacher: set[str] = field(default_factory=set)
    by_student: set[str] = field(default_factory=set)
    ended: list[float] = field(default_factory=list)
    asked: int = 0

    def add(self, other: "Delivered") -> None:
        self.by_teacher |= other.by_teacher
        self.by_student |= other.by_student
        self.ended += other.ended
        self.asked += other.asked


@dataclass
class _Worker:
    url: str
    name: str
    stop: Event
    delivered: Delivered = field(default_factory=Delivered)

    def run(self) -> Delivered:
        client = openai.OpenAI(
            base_url=self.url + "/v1", api_key="unused", max_retries=0, timeout=TIMEOUT_SECONDS
        )
        with client:
            for number in range(MOST_REQUESTS):
                if self.stop.is_set():
                    break
                # Odd ones stream: both ways of an answer are to be lost if any is.
                self.delivered.asked += 1
                ask = self._stream if number % 2 else self._whole
                try:
                    ask(client, f"{self.name}-{number}")
                except openai.APIError:  # a fault is on: what is not delivered is not owed
                    time.sleep(PAUSE_SECONDS)
        return self.delivered

    def _whole(self, client: openai.OpenAI, request_id: str) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="assistant", messages=QUESTION, extra_headers={"x-request-id": request_id}
        )
        assert raw.headers["x-request-id"] == request_id
        if raw.parse().choices[0].message.content:
            self._note(request_id, raw.headers["x-understudy-served-by"])

    def _stream(self, client: openai.OpenAI, request_id: str) -> None:
        stream = client.chat.completions.create(
            model="assistant",
            messages=QUESTION,
            stream=True,
            extra_headers={"x-request-id": request_id},
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].finish_reason is not None:
                told = cast(dict[str, Any], chunk.model_extra)["understudy"]
                self._note(request_id, told["served_by"])

    def _note(self, request_id: str, served_by: str) -> None:
        is_teachers = served_by == "teacher"
        (self.delivered.by_teacher if is_teachers else self.delivered.by_student).add(request_id)
        self.delivered.ended.append(time.monotonic())


class Load:
    """Workers on one gateway; ``delivered`` is whole once they are stopped."""

    _numbers = itertools.count()

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self.delivered = Delivered()
        self._stop = Event()
        number = next(self._numbers)
        workers = [_Worker(url, f"{number}-{each}", self._stop) for each in range(WORKERS)]
        self._results: list[Future[Delivered]] = [pool.submit(worker.run) for worker in workers]

    def stop(self) -> None:
        self._stop.set()
        for result in self._results:
            self.delivered.add(result.result(timeout=3 * TIMEOUT_SECONDS))


@contextlib.contextmanager
def load_on(url: str, delivered: Delivered) -> Iterator[None]:
    """Load for as long as the block runs; what was answered in full joins ``delivered``."""
    with ThreadPoolExecutor(WORKERS) as pool:
        load = Load(url, pool)
        try:
            yield
        finally:
            load.stop()
        delivered.add(load.delivered)
