"""From what clients ask to what has to run: gateways, model servers, Redis, disks, wires, money.

The inputs with their defaults, and the arithmetic from them to a ``Plan``.  deploy/sizing.md says
where each default comes from and how to measure your own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import ceil, inf, sqrt
from typing import Annotated

from deploy.capacity import Fleet, Queue, Server, Targets, Work, servers, with_headroom

HOUR_SECONDS = 3600
MONTH_HOURS = 730
MICRO, MEBI, GIBI, BITS = 1e-6, 2**20, 2**30, 8
REDIS_COPIES = 2
# Tokens of the answers that `./dev bench` measures.
MEASURED_TOKENS = 64
# A Poisson number of open requests is beyond its mean by four deviations once in 30,000 looks.
DEVIATIONS = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What clients ask.  A spread is the standard deviation over the mean."""

    requests_per_second: Annotated[float, "requests a second, the week's mean"] = 100.0
    peak_factor: Annotated[float, "the busiest minutes over that mean"] = 2.0
    input_tokens: Annotated[float, "tokens of a prompt that no cache has, mean"] = 1155.0
    input_spread: Annotated[float, "their spread"] = 0.96
    output_tokens: Annotated[float, "tokens of an answer, mean"] = 211.0
    output_spread: Annotated[float, "their spread"] = 0.77
    teacher_verbosity: Annotated[float, "tokens the teacher writes for one of the student's"] = 1.0
    escalation_rate: Annotated[float, "share of requests that the teacher answers"] = 0.15
    streamed_share: Annotated[float, "share of requests that are streams"] = 0.8


# Assumed: 8 billion parameters in FP8 on one H100 at 3.20 USD an hour.
STUDENT = Server(1, 3.20, 40_000, 200, 10_000, 256, 0.02, 0.06)
# Qwen3-235B-A22B in FP8 on four H100, read off published runs: deploy/sizing.md has them.
TEACHER = Server(4, 12.80, 20_000, 75, 5_000, 256, 0.60, 2.40, chunk_tokens=16_384)


@dataclass(frozen=True, slots=True)
class Gateway:
    """One replica: one process that keeps one processor busy.  Times from README's tables."""

    kept_us: Annotated[float, "processor time of a kept whole answer of 64 tokens, µs"] = 177.0
    escalated_us: Annotated[float, "the same of an escalated one, µs"] = 360.0
    whole_token_us: Annotated[float, "for each token of a whole draft beyond 64, µs"] = 2.5
    kept_token_us: Annotated[float, "for each token of a kept stream, µs"] = 70.0
    escalated_token_us: Annotated[float, "for each token of an escalated stream, µs"] = 82.0
    utilisation: Annotated[float, "the most that a replica's processor may be busy"] = 0.6
    max_open_requests: Annotated[float, "UNDERSTUDY_MAX_OPEN_REQUESTS"] = 1024.0
    memory_mib: Annotated[float, "memory of an idle replica, MiB"] = 82.0
    stream_kib: Annotated[float, "memory of an open stream, KiB"] = 33.0
    series: Annotated[float, "Prometheus series of a replica, at most"] = 3600.0


@dataclass(frozen=True, slots=True)
class Store:
    """Redis, the journals and the wire."""

    cascades: Annotated[float, "cascades in the configuration"] = 1.0
    kept_hours: Annotated[float, "how long pairs stay in Redis (pairs.max_age_days)"] = 6.0
    outage_hours: Annotated[float, "how long journals hold pairs while Redis is away"] = 4.0
    pair_bytes: Annotated[float, "a pair without its texts"] = 1500.0
    text_token_bytes: Annotated[float, "a token of prompt or answer as JSON text"] = 4.5
    draft_token_bytes: Annotated[float, "a token of a draft, with log-probabilities"] = 190.0
    client_chunk_bytes: Annotated[float, "an event of a stream to the client"] = 230.0
    model_chunk_bytes: Annotated[float, "an event of a stream from the student"] = 480.0
    memory_factor: Annotated[float, "Redis' memory for a byte of pairs"] = 1.05
    ledger_mib: Annotated[float, "Redis' memory for a cascade's ledger, MiB"] = 100.0
    posting_us: Annotated[float, "Redis' time for a second's ledger of a gateway, µs"] = 700.0
    pair_us: Annotated[float, "Redis' time for a pair, µs"] = 130.0
    export_pairs_per_second: Annotated[float, "pairs that one export reads a second"] = 6017.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What is not a model server, in USD."""

    cpu_hour: Annotated[float, "a processor for an hour"] = 0.04
    gib_hour: Annotated[float, "a GiB of memory for an hour"] = 0.005
    disk_gib_month: Annotated[float, "a GiB of disk for a month"] = 0.1


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cluster with one Redis primary and one Prometheus carries."""

    redis_gib: Annotated[float, "memory of one Redis primary, GiB"] = 64.0
    redis_busy: Annotated[float, "the most that its one thread may be busy"] = 0.5
    series: Annotated[float, "series of one Prometheus"] = 2_000_000.0
    nodes: Annotated[float, "nodes of one Kubernetes cluster"] = 5000.0
    gpus_per_node: Annotated[float, "GPUs of a node"] = 8.0
    gateways_per_node: Annotated[float, "gateways of a node"] = 30.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the arithmetic starts from."""

    load: Load = field(default_factory=Load)
    student: Server = STUDENT
    teacher: Server = TEACHER
    gateway: Gateway = field(default_factory=Gateway)
    store: Store = field(default_factory=Store)
    targets: Targets = field(default_factory=Targets)
    prices: Prices = field(default_factory=Prices)
    cell: Cell = field(default_factory=Cell)


@dataclass(frozen=True, slots=True)
class Fleets:
    """What runs."""

    gateways: Fleet
    students: Fleet
    teachers: Fleet


@dataclass(frozen=True, slots=True)
class Shared:
    """What all gateways of a cell share: Redis and Prometheus."""

    redis_gib: float
    redis_busy: float
    series: float
    pairs_per_second: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load needs.  ``limits`` has, of each thing that ends, how often one is used up."""

    peak: float
    cpu_seconds: float
    open_requests: float
    fleets: Fleets
    shared: Shared
    pair_bytes: float
    journal_gib: float
    client_mbits: float
    model_mbits: float
    bill: dict[str, float]
    teacher_only_usd: float
    teacher_by_token_usd: float
    limits: dict[str, float]

    @property
    def usd(self) -> float:
        """The month's bill."""
        return sum(self.bill.values())

    @property
    def saving(self) -> float:
        """The part of a bill of teachers alone that is saved; negative where more is spent."""
        return 1 - self.usd / self.teacher_only_usd

    @property
    def cells(self) -> int:
        """How many copies of everything, each with a Redis and a Prometheus of its own."""
        return max(1, ceil(max(self.limits.values())))


def plan(inputs: Inputs) -> Plan:
    """All that ``inputs`` need at the peak, and a month's bill for as much at all hours."""
    load, store = inputs.load, inputs.store
    peak = load.requests_per_second * load.peak_factor
    escalated = peak * load.escalation_rate
    students = servers(inputs.student, student_work(load), peak, inputs.targets)
    teachers = servers(inputs.teacher, teacher_work(load), escalated, inputs.targets)
    # Little's law for each of the two: a request is open while a model is at it.
    open_requests = (
        peak * students.queue.latency_seconds + escalated * teachers.queue.latency_seconds
    )
    busy = peak * cpu_seconds(load, inputs.gateway)
    fleets = Fleets(gateways(inputs, busy, open_requests), students, teachers)
    journal = journal_gib(inputs, escalated, fleets.gateways.needed)
    both = shared(inputs, fleets.gateways.running, escalated)
    client, models = wire_bytes(load, store)
    return Plan(
        peak=peak,
        cpu_seconds=cpu_seconds(load, inputs.gateway),
        open_requests=open_requests,
        fleets=fleets,
        shared=both,
        pair_bytes=pair_bytes(load, store),
        journal_gib=journal,
        client_mbits=peak * client * BITS * MICRO,
        model_mbits=peak * models * BITS * MICRO,
        bill=bill(inputs, fleets, both.redis_gib, journal),
        teacher_only_usd=teacher_only_usd(inputs, peak),
        teacher_by_token_usd=by_token(
            inputs.teacher, teacher_work(load), load.requests_per_second * load.escalation_rate
        ),
        limits=limits(inputs, fleets, both),
    )


# What something is divided by: nothing has room for none of these.
DIVISORS = frozenset({
    ("gateway", "max_open_requests"),
    ("store", "export_pairs_per_second"),
    *(("cell", each.name) for each in fields(Cell)),
})  # fmt: skip


def faults(inputs: Inputs) -> Iterator[str]:
    """What is wrong with the inputs, if anything: then their plan means nothing."""
    for part in fields(inputs):
        for each in fields(getattr(inputs, part.name)):
            value = getattr(getattr(inputs, part.name), each.name)
            if not 0 <= value < inf:
                yield f"{part.name}: {each.name} is {value}, and must be a number from 0 on"
            elif value == 0 and (part.name, each.name) in DIVISORS:
                yield f"{part.name}: {each.name} must be above 0"
    load = inputs.load
    if load.peak_factor < 1:
        yield "load: peak_factor is at least 1, for no peak is below the mean"
    for name in ("escalation_rate", "streamed_share"):
        if getattr(load, name) > 1:
            yield f"load: {name} is a share, at most 1"
    if not 0 < inputs.targets.utilisation < 1 or not 0 < inputs.gateway.utilisation <= 1:
        yield "a utilisation to aim at is above 0, and a model server's below 1"
    if min(load.requests_per_second, load.output_tokens, inputs.targets.wait_seconds) <= 0:
        yield "requests, answers and the wait to aim at must be above 0"
    for name, server in (("student", inputs.student), ("teacher", inputs.teacher)):
        alone, full = server.alone_tokens_per_second, server.full_tokens_per_second
        if not 0 < alone <= full <= alone * server.max_sequences:
            yield f"{name}: a full batch writes more than one sequence alone, and each slower"
        if min(server.prefill_tokens_per_second, server.chunk_tokens) <= 0:
            yield f"{name}: prefill_tokens_per_second and chunk_tokens must be above 0"
    if inputs.teacher.is_bought and by_token(inputs.teacher, teacher_work(load), 1) == 0:
        yield "the teacher must cost something: there is nothing to save"


def student_work(load: Load) -> Work:
    """A draft.  One that is given up early costs less: this leaves that out."""
    return Work(load.input_tokens, load.input_spread, load.output_tokens, load.output_spread)


def teacher_work(load: Load) -> Work:
    """The teacher's answer to the same prompt."""
    written = load.output_tokens * load.teacher_verbosity
    return Work(load.input_tokens, load.input_spread, written, load.output_spread)


def cpu_seconds(load: Load, gateway: Gateway) -> float:
    """Processor time of a gateway for a request, over all kinds of requests."""
    escalated, streamed = load.escalation_rate, load.streamed_share
    beyond = max(load.output_tokens - MEASURED_TOKENS, 0) * gateway.whole_token_us
    whole = (1 - escalated) * gateway.kept_us + escalated * gateway.escalated_us + beyond
    stream = (
        1 - escalated
    ) * load.output_tokens * gateway.kept_token_us + escalated * teacher_work(
        load
    ).output_tokens * gateway.escalated_token_us
    return MICRO * ((1 - streamed) * whole + streamed * stream)


def gateways(inputs: Inputs, busy: float, open_requests: float) -> Fleet:
    """Enough of them for the processors, and for the open requests with four deviations more."""
    gateway = inputs.gateway
    for_cpu = busy / gateway.utilisation
    # Solves x + DEVIATIONS * sqrt(x) = max_open_requests for the mean x of one replica.
    root = (sqrt(DEVIATIONS**2 + 4 * gateway.max_open_requests) - DEVIATIONS) / 2
    needed = max(1, ceil(for_cpu), ceil(open_requests / root**2))
    queue = Queue(busy / needed, sequences=open_requests / needed)
    return Fleet(needed, with_headroom(needed, inputs.targets), queue)


def pair_bytes(load: Load, store: Store) -> float:
    """A pair: the request and the answer as text, the draft with its log-probabilities."""
    texts = load.input_tokens + teacher_work(load).output_tokens
    return (
        store.pair_bytes
        + texts * store.text_token_bytes
        + load.output_tokens * store.draft_token_bytes
    )


def journal_gib(inputs: Inputs, escalated: float, replicas: int) -> float:
    """What one gateway's journal grows to while Redis is away."""
    seconds = inputs.store.outage_hours * HOUR_SECONDS
    return escalated / replicas * seconds * pair_bytes(inputs.load, inputs.store) / GIBI


def shared(inputs: Inputs, replicas: int, escalated: float) -> Shared:
    """What Redis holds of the mean load, and does at the peak."""
    load, store = inputs.load, inputs.store
    pairs = load.requests_per_second * load.escalation_rate
    kept = pairs * store.kept_hours * HOUR_SECONDS * pair_bytes(load, store) * store.memory_factor
    postings = replicas * store.cascades * store.posting_us
    return Shared(
        redis_gib=kept / GIBI + store.cascades * store.ledger_mib * MEBI / GIBI,
        redis_busy=MICRO * (postings + escalated * store.pair_us),
        series=replicas * inputs.gateway.series,
        pairs_per_second=pairs,
    )


def wire_bytes(load: Load, store: Store) -> tuple[float, float]:
    """Bytes of a request, both ways together: with the client, and with the models."""
    prompt = load.input_tokens * store.text_token_bytes
    drafted, taught = load.output_tokens, teacher_work(load).output_tokens
    escalated, streamed = load.escalation_rate, load.streamed_share
    answer = (1 - escalated) * drafted + escalated * taught
    event = streamed * store.client_chunk_bytes + (1 - streamed) * store.text_token_bytes
    draft_event = streamed * store.model_chunk_bytes + (1 - streamed) * store.draft_token_bytes
    models = (1 + escalated) * prompt + drafted * draft_event + escalated * taught * event
    return prompt + answer * event, models


def by_token(server: Server, work: Work, requests_per_second: float) -> float:
    """A month of so many requests on average, bought by the token."""
    request = (
        work.input_tokens * server.usd_per_million_input
        + work.output_tokens * server.usd_per_million_output
    ) * MICRO
    return requests_per_second * request * MONTH_HOURS * HOUR_SECONDS


def model_usd(fleet: Fleet, server: Server, work: Work, requests_per_second: float) -> float:
    """A month of a model: the rent of what runs, or the tokens of the mean load."""
    if server.is_bought:
        return by_token(server, work, requests_per_second)
    return fleet.running * server.usd_per_hour * MONTH_HOURS


def bill(inputs: Inputs, fleets: Fleets, redis_gib: float, journal: float) -> dict[str, float]:
    """A month in USD, line by line.  Redis counts twice: a primary and its replica."""
    load, prices, running = inputs.load, inputs.prices, fleets.gateways.running
    mean = load.requests_per_second
    memory = running * gateway_memory_gib(inputs.gateway)
    redis = REDIS_COPIES * (prices.cpu_hour + redis_gib * prices.gib_hour)
    return {
        "gateways": (running * prices.cpu_hour + memory * prices.gib_hour) * MONTH_HOURS,
        "journals": running * journal * prices.disk_gib_month,
        "Redis": redis * MONTH_HOURS,
        "students": model_usd(fleets.students, inputs.student, student_work(load), mean),
        "teachers": model_usd(
            fleets.teachers, inputs.teacher, teacher_work(load), mean * load.escalation_rate
        ),
    }


def gateway_memory_gib(gateway: Gateway) -> float:
    """Memory of a replica that has as many streams open as it may."""
    return gateway.memory_mib / 1024 + gateway.max_open_requests * gateway.stream_kib / 1024**2


def teacher_only_usd(inputs: Inputs, peak: float) -> float:
    """A month of teachers that answer everything, by the same rules, without any gateway."""
    work = teacher_work(inputs.load)
    fleet = servers(inputs.teacher, work, peak, inputs.targets)
    return model_usd(fleet, inputs.teacher, work, inputs.load.requests_per_second)


def limits(inputs: Inputs, fleets: Fleets, both: Shared) -> dict[str, float]:
    """Of what ends first in one cell, how many of it the whole load would use up."""
    cell, store = inputs.cell, inputs.store
    gpus = fleets.students.running * inputs.student.gpus
    gpus += fleets.teachers.running * inputs.teacher.gpus
    nodes = gpus / cell.gpus_per_node + fleets.gateways.running / cell.gateways_per_node
    return {
        "Redis' memory": both.redis_gib / cell.redis_gib,
        "Redis' thread": both.redis_busy / cell.redis_busy,
        "Prometheus' series": both.series / cell.series,
        "an export's speed": both.pairs_per_second / store.export_pairs_per_second,
        "Kubernetes' nodes": nodes / cell.nodes,
    }
