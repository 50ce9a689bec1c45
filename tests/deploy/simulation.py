"""A cascade as discrete events, to hold deploy/sizing.py against.

Nothing here knows a formula of queues.  Requests come, wait, share a batch step by step, and go;
what is told is counted.  A server's speeds are measured as ``vllm bench serve`` does it: one
request alone, as many as it takes at once, a long prompt.
"""

import heapq
import random
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil, log, sqrt
from typing import Any

import simpy

type_of_process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Engine:
    """What a step of continuous batching takes: the weights once, each sequence's part, and the
    part of a prompt that is read in the same step."""

    weights_seconds: float
    sequence_seconds: float
    prompt_token_seconds: float
    slots: int
    chunk_tokens: int = 2048

    def step_seconds(self, sequences: int, chunk: int = 0) -> float:
        decode = self.weights_seconds + self.sequence_seconds * sequences if sequences else 0.0
        return decode + self.prompt_token_seconds * chunk


@dataclass(frozen=True)
class Lengths:
    """Log-normal numbers of tokens, whole and at least one."""

    mean: float
    spread: float

    def draw(self, dice: random.Random) -> int:
        sigma = sqrt(log(1 + self.spread**2))
        return max(1, round(dice.lognormvariate(log(self.mean) - sigma**2 / 2, sigma)))


@dataclass(frozen=True)
class Traffic:
    requests_per_second: float
    prompts: Lengths
    answers: Lengths
    escalated: float


@dataclass
class Call:
    """One request to one server."""

    prompt: int
    answer: int
    came: float
    done: simpy.Event
    unread: int = 0
    began: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True)
class Stage:
    """What was counted of all servers of a kind; rate and sequences of one, means of the calls."""

    rate: float
    prompt: float
    answer: float
    sequences: float
    wait_seconds: float
    latency_seconds: float


@dataclass(frozen=True)
class Observed:
    student: Stage
    teacher: Stage
    open_requests: float
    gateway_busy: float


class Server:
    """Takes calls into its slots in the order they come, reads their prompts in chunks beside the
    steps of those that write, and writes one token of each a step."""

    def __init__(self, env: simpy.Environment, engine: Engine) -> None:
        self.calls: list[Call] = []
        self._env, self._engine = env, engine
        self._waiting: deque[Call] = deque()
        self._reading: deque[Call] = deque()
        # Each with the number of the step that ends it, and a number that no other has.
        self._writing: list[tuple[int, int, Call]] = []
        self._number = count()
        self._steps = 0
        self._may_be_woken = False
        self._process = env.process(self._run())

    def ask(self, prompt: int, answer: int) -> simpy.Event:
        call = Call(prompt, answer, self._env.now, self._env.event(), unread=prompt)
        self.calls.append(call)
        self._waiting.append(call)
        if self._may_be_woken and self._has_room():
            self._may_be_woken = False
            self._process.interrupt()
        return call.done

    def _has_room(self) -> bool:
        return len(self._reading) + len(self._writing) < self._engine.slots

    def _run(self) -> type_of_process:
        while True:
            while self._waiting and self._has_room():
                call = self._waiting.popleft()
                call.began = self._env.now
                self._reading.append(call)
            if self._reading:
                yield from self._read()
            elif self._writing:
                yield from self._write()
            else:
                yield from self._sleep(float("inf"))
            self._end()

    def _read(self) -> type_of_process:
        """One step, with a chunk of the first prompts."""
        room, read = self._engine.chunk_tokens, []
        while self._reading and room:
            call = self._reading[0]
            part = min(room, call.unread)
            call.unread, room = call.unread - part, room - part
            if not call.unread:
                read.append(self._reading.popleft())
        yield self._env.timeout(
            self._engine.step_seconds(len(self._writing), self._engine.chunk_tokens - room)
        )
        self._steps += 1
        for call in read:
            # The step that read the prompt's end has written the first token.
            last_step = self._steps + call.answer - 1
            heapq.heappush(self._writing, (last_step, next(self._number), call))

    def _write(self) -> type_of_process:
        """All steps until one ends, or somebody comes who finds room."""
        step = self._engine.step_seconds(len(self._writing))
        steps = self._writing[0][0] - self._steps
        began = self._env.now
        if steps and not (yield from self._sleep(steps * step)):
            steps = min(steps, ceil((self._env.now - began) / step))
            yield self._env.timeout(max(0.0, began + steps * step - self._env.now))
        self._steps += steps

    def _sleep(self, seconds: float) -> Generator[simpy.Event, Any, bool]:
        """Whether nobody woke it."""
        self._may_be_woken = True
        try:
            yield self._env.timeout(seconds) if seconds < float("inf") else self._env.event()
        except simpy.Interrupt:
            return False
        self._may_be_woken = False
        return True

    def _end(self) -> None:
        while self._writing and self._writing[0][0] <= self._steps:
            call = heapq.heappop(self._writing)[2]
            call.ended = self._env.now
            call.done.succeed()


@dataclass
class _Books:
    """What is counted between the end of the warm-up and the end."""

    begin: float
    end: float
    cpu: float = 0.0
    open_seconds: float = 0.0

    def overlap(self, begin: float, end: float) -> float:
        return max(0.0, min(end, self.end) - max(begin, self.begin))

    def stage(self, servers: Sequence[Server]) -> Stage:
        calls = [
            call
            for server in servers
            for call in server.calls
            if self.begin <= call.came < self.end and call.ended
        ]
        written = sum(
            self.overlap(call.began, call.ended or self.end)
            for server in servers
            for call in server.calls
            if call.began
        )
        number = max(len(calls), 1)
        return Stage(
            prompt=sum(call.prompt for call in calls) / number,
            answer=sum(call.answer for call in calls) / number,
            rate=len(calls) / (self.end - self.begin) / len(servers),
            sequences=written / (self.end - self.begin) / len(servers),
            wait_seconds=sum(call.began - call.came for call in calls) / number,
            latency_seconds=sum(call.ended - call.came for call in calls) / number,
        )


class Processor:
    """Does one thing after the other."""

    def __init__(self, env: simpy.Environment, books: _Books) -> None:
        self._env, self._books = env, books
        self._free_at = 0.0

    def compute(self, seconds: float) -> simpy.Event:
        begin = max(self._env.now, self._free_at)
        self._free_at = begin + seconds
        self._books.cpu += self._books.overlap(begin, self._free_at)
        return self._env.timeout(self._free_at - self._env.now)


@dataclass(frozen=True)
class Cascade:
    """So many gateways, students and teachers; a request goes to any of each with equal chance."""

    student: Engine
    teacher: Engine
    gateways: int
    students: int
    teachers: int
    cpu_seconds: float
    # Some times what an answer takes.
    settling_seconds: float = 30.0

    def observe(self, traffic: Traffic, seconds: float, seed: int) -> Observed:
        """What comes within so long, after a time to warm up and before one in which it ends."""
        env, dice = simpy.Environment(), random.Random(seed)
        books = _Books(self.settling_seconds, self.settling_seconds + seconds)
        processors = [Processor(env, books) for _ in range(self.gateways)]
        students = [Server(env, self.student) for _ in range(self.students)]
        teachers = [Server(env, self.teacher) for _ in range(self.teachers)]

        def request() -> type_of_process:
            came = env.now
            prompt = traffic.prompts.draw(dice)
            processor = dice.choice(processors)
            yield processor.compute(self.cpu_seconds / 2)
            yield dice.choice(students).ask(prompt, traffic.answers.draw(dice))
            if dice.random() < traffic.escalated:
                yield dice.choice(teachers).ask(prompt, traffic.answers.draw(dice))
            yield processor.compute(self.cpu_seconds / 2)
            books.open_seconds += books.overlap(came, env.now)

        def clients() -> type_of_process:
            while True:
                yield env.timeout(dice.expovariate(traffic.requests_per_second))
                env.process(request())

        env.process(clients())
        env.run(until=books.end + self.settling_seconds)
        return Observed(
            books.stage(students),
            books.stage(teachers),
            books.open_seconds / seconds,
            books.cpu / seconds / self.gateways,
        )


def together(engine: Engine, lengths: Iterable[tuple[int, int]]) -> list[Call]:
    """Calls of (prompt, answer) tokens that all come at once, as they went; by their ends."""
    env = simpy.Environment()
    server = Server(env, engine)
    for prompt, answer in lengths:
        server.ask(prompt, answer)
    env.run()
    return sorted(server.calls, key=lambda call: call.ended)


def tokens_per_second_alone(engine: Engine) -> float:
    (call,) = together(engine, [(1, 1000)])
    return 1000 / call.ended


def tokens_per_second_full(engine: Engine) -> float:
    calls = together(engine, [(1, 1000)] * engine.slots)
    return 1000 * engine.slots / calls[-1].ended


def prompt_tokens_per_second(engine: Engine) -> float:
    (call,) = together(engine, [(8000, 1)])
    return 8000 / call.ended


def requests_per_second_full(engine: Engine, traffic: Traffic, seed: int) -> float:
    """Of a server that always has more to do: the middle half of a pile of calls."""
    dice = random.Random(seed)
    pile = max(2000, 8 * engine.slots)
    lengths = [(traffic.prompts.draw(dice), traffic.answers.draw(dice)) for _ in range(pile)]
    calls = together(engine, lengths)
    return pile / 2 / (calls[3 * pile // 4].ended - calls[pile // 4].ended)
