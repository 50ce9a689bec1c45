"""What one model server carries, and how many of them a rate of requests needs.

Continuous batching as a queue.  It knows nothing of gateways, money or tables; deploy/sizing.md has
the formulas with their reasons, and tests/deploy/simulation.py a model that shares none of them.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from math import ceil, erfc, exp, inf, log, sqrt
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Server:
    """One model server: the GPUs that hold one copy of the model."""

    gpus: Annotated[float, "GPUs of one server"]
    usd_per_hour: Annotated[float, "rent of one server; 0: not rented, bought by the token"]
    prefill_tokens_per_second: Annotated[float, "prompt tokens a second"]
    alone_tokens_per_second: Annotated[float, "tokens a second that one sequence gets alone"]
    full_tokens_per_second: Annotated[float, "tokens a second of all sequences when it is full"]
    max_sequences: Annotated[float, "sequences that it writes at once when it is full"]
    usd_per_million_input: Annotated[float, "the same model bought by the token: prompts"]
    usd_per_million_output: Annotated[float, "the same: answers"]
    chunk_tokens: Annotated[float, "prompt tokens that one step reads at most"] = 8192.0

    @property
    def is_bought(self) -> bool:
        """Whether somebody else runs it."""
        return self.usd_per_hour == 0


@dataclass(frozen=True, slots=True)
class Targets:
    """When a fleet is large enough, and what it has to survive."""

    utilisation: Annotated[float, "the most of a model server's capacity that is used"] = 0.75
    wait_seconds: Annotated[float, "the most that a request waits to begin, mean"] = 0.1
    zones: Annotated[float, "zones, one of which may be lost; 1: one replica may; 0: none"] = 3.0


@dataclass(frozen=True, slots=True)
class Work:
    """What one request asks of a model server."""

    input_tokens: float
    input_spread: float
    output_tokens: float
    output_spread: float


@dataclass(frozen=True, slots=True)
class Queue:
    """One model server under its share of the load; means, at the peak."""

    utilisation: float = 0.0
    waiting: float = 0.0
    wait_seconds: float = 0.0
    sequences: float = 0.0
    latency_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """``needed`` replicas carry the peak; ``running`` still do when a zone is lost."""

    needed: int
    running: int
    queue: Queue = field(default_factory=Queue)


def full_seconds(server: Server, work: Work) -> float:
    """Time of a full server that one request takes up; its inverse is the server's capacity."""
    prefill = work.input_tokens / server.prefill_tokens_per_second
    return prefill + work.output_tokens / server.full_tokens_per_second


def alone_seconds(server: Server, work: Work) -> float:
    """Time of a request that has the server to itself."""
    prefill = work.input_tokens / server.prefill_tokens_per_second
    return prefill + work.output_tokens / server.alone_tokens_per_second


def step_seconds(server: Server, sequences: float) -> float:
    """Time in which each of so many sequences gets a token: a straight line through the two
    measured speeds, because reading the weights costs the same for one sequence and for all."""
    alone = 1 / server.alone_tokens_per_second
    full = server.max_sequences / server.full_tokens_per_second
    slope = (full - alone) / max(server.max_sequences - 1, 1)
    return alone + slope * (sequences - 1)


def departures(server: Server, work: Work, sequences: int) -> float:
    """Requests a second that a server ends while it writes so many sequences."""
    prefill = work.input_tokens / server.prefill_tokens_per_second
    return 1 / (prefill + work.output_tokens * step_seconds(server, sequences) / sequences)


def steadiness(server: Server, work: Work, sequences: int) -> float:
    """The noise of a birth-death chain over that of a server that reads prompts before all else.

    Who comes stops the others until the prompt is read, so one arrival is as much as 1 + u births,
    where u is what they would have ended meanwhile; and the batch finds back that much faster.
    """
    others = sequences - 1
    if not others or not work.output_tokens:
        return 1.0
    prefill = work.input_tokens / server.prefill_tokens_per_second
    stopped = prefill * others / (work.output_tokens * step_seconds(server, others))
    return 2 * (1 + stopped) / ((1 + stopped) ** 2 + (stopped * work.input_spread) ** 2 + 1)


def squared_variation(server: Server, work: Work) -> float:
    """Variance over squared mean of ``full_seconds``, prompt and answer independent."""
    prefill = work.input_tokens / server.prefill_tokens_per_second
    decode = work.output_tokens / server.full_tokens_per_second
    variance = (prefill * work.input_spread) ** 2 + (decode * work.output_spread) ** 2
    return variance / (prefill + decode) ** 2


def queue(server: Server, work: Work, rate: float) -> Queue:
    """A server with ``rate`` requests a second: Erlang C with a batch's speeds for its servers.

    The number of requests there is a birth-death chain, born at ``rate``, dying at
    ``departures``; from ``max_sequences`` on they wait.  Beyond capacity every wait is infinite.
    """
    if rate == 0:
        return Queue()
    slots = int(server.max_sequences)
    busy = rate / departures(server, work, slots)
    if busy >= 1:
        return Queue(busy, 1.0, inf, slots, inf)
    logs = [0.0]
    for number in range(1, slots + 1):
        change = log(rate / departures(server, work, number))
        logs.append(logs[-1] + steadiness(server, work, number) * change)
    likeliest = max(logs)
    weights = [exp(each - likeliest) for each in logs]
    full = weights[slots] / (1 - busy)
    total = sum(weights[:slots]) + full
    present = (sum(n * weights[n] for n in range(slots)) + slots * full) / total
    waiting = full / total
    evenness = spread_factor(slots, busy, squared_variation(server, work))
    for_slot = waiting * busy / (1 - busy) / rate * evenness
    for_step = join_seconds(server, work, rate, Occupied(1 - weights[0] / total, present))
    return Queue(
        utilisation=busy,
        waiting=waiting,
        wait_seconds=for_slot + for_step,
        sequences=present - rate * for_step,
        latency_seconds=for_slot + present / rate,
    )


def spread_factor(slots: int, busy: float, variation: float) -> float:
    """A wait for a slot over that of exponential work: Page's interpolation between exponential
    work and work that is always the same, whose waits Cosmetatos approximates (INFOR 13, 1975).

    With one slot it is the formula of Pollaczek and Khinchine, (1 + c²) / 2.
    """
    idle = (1 - busy) * (slots - 1) * (sqrt(4 + 5 * slots) - 2) / (16 * busy * slots)
    even = min(1.0, (1 + idle) / 2)
    return variation + (1 - variation) * even


@dataclass(frozen=True, slots=True)
class Occupied:
    """The share of time in which a server has anything to do, and its sequences on average."""

    share: float
    sequences: float


def join_seconds(server: Server, work: Work, rate: float, occupied: Occupied) -> float:
    """Time until the step that is being made is over, for a request that finds room: the mean
    residual life of steps, of which those that read a part of a prompt are longer by it."""
    reading = rate * work.input_tokens / server.prefill_tokens_per_second
    step = step_seconds(server, occupied.sequences)
    read = rate * squared_parts(work, server.chunk_tokens) / server.prefill_tokens_per_second**2
    return ((occupied.share + reading) * step + read) / 2


def squared_parts(work: Work, chunk_tokens: float) -> float:
    """Mean of the sum of squares of the parts in which a prompt is read, lengths log-normal: the
    square of one that fits into a step, and a step's tokens for each token of a longer one."""
    if not work.input_tokens:
        return 0.0
    variance = log(1 + work.input_spread**2)
    sigma = max(sqrt(variance), 1e-9)
    # Sigmas by which a prompt as long as a step is beyond the mean of the logarithms.
    beyond = (log(chunk_tokens / work.input_tokens) + variance / 2) / sigma
    short = work.input_tokens**2 * (1 + work.input_spread**2) * _below(beyond - 2 * sigma)
    return short + chunk_tokens * work.input_tokens * _below(sigma - beyond)


def _below(sigmas: float) -> float:
    """The share of a normal distribution below so many sigmas."""
    return erfc(-sigmas / sqrt(2)) / 2


def servers(server: Server, work: Work, rate: float, targets: Targets) -> Fleet:
    """The fewest servers that meet both targets where a balancer deals requests out at random."""
    if rate == 0:
        return Fleet(0, 0)
    if server.is_bought:
        return Fleet(0, 0, Queue(latency_seconds=alone_seconds(server, work)))
    least = max(1, ceil(rate * full_seconds(server, work) / targets.utilisation))

    def is_enough(number: int) -> bool:
        return queue(server, work, rate / number).wait_seconds <= targets.wait_seconds

    most = least
    while not is_enough(most):
        most *= 2
    needed = least + bisect_left(range(least, most), True, key=is_enough)
    return Fleet(needed, with_headroom(needed, targets), queue(server, work, rate / needed))


def with_headroom(needed: int, targets: Targets) -> int:
    """The fewest replicas, evenly over the zones, of which ``needed`` are left without one zone."""
    zones = int(targets.zones)
    if not needed or not zones:
        return needed
    if zones == 1:
        return needed + 1
    running = -(-needed * zones // (zones - 1))
    while running - ceil(running / zones) < needed:
        running += 1
    return running
