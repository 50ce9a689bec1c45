"""What an escalation takes while the store is well, away, or does not answer.

A real Valkey; the three states take turns, so that whatever else the machine does falls on all.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench import processes, scenarios
from bench.load import Job
from bench.processes import Pipes, Progress, StartFailed
from bench.scenarios import ESCALATE
from bench.stand import Stand, p99
from understudy.demo.processes import Program, free_ports
from understudy.demo.services import valkey_program

CONCURRENCY = 4
ROUNDS = 10
# For the shipper to notice, and for the store's own start or end to be over.
SETTLE_SECONDS = 0.5
WARM_UP_REQUESTS = 200


class StoreState(StrEnum):
    """What the store does: it answers, nothing listens there, or it takes and never answers."""

    UP = "up"
    AWAY = "away"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class OutageMeasurement:
    """Escalations in one state of the store.  Times in milliseconds, to the answer's end.

    ``median_ms_rounds`` has the median of each round: its spread is the machine's noise.
    """

    state: StoreState
    requests: int
    latency_ms_median: float
    latency_ms_p99: float
    median_ms_rounds: list[float]


@dataclass(frozen=True, slots=True)
class OutageTimes:
    """One run.  ``pairs`` is how many pairs the store held in the end: all that were written."""

    concurrency: int
    pairs: int
    measurements: list[OutageMeasurement]


class _Store:
    """A Valkey of our own that can be put into each state."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._ended = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def put(self, state: StoreState) -> None:
        """Bring it into that state.  Raises StartFailed."""
        if state is StoreState.AWAY:
            self.end()
            return
        if self._process is None:
            self._start()
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if state is StoreState.HUNG else signal.SIGCONT)

    def end(self) -> None:
        """Stop it; what it has is on its disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process = None
        self._ended.close()

    def _start(self) -> None:
        pipes = Pipes(stdout=subprocess.DEVNULL)
        child = processes.child(self._program.command, processes.cores().load, pipes, os.environ)
        self._process = self._ended.enter_context(child)
        end = time.monotonic() + processes.START_SECONDS
        while not self._program.is_ready():
            if time.monotonic() > end or self._process.poll() is not None:
                raise StartFailed("the store did not start")
            time.sleep(processes.POLL_SECONDS)


def time_outage(requests: int, progress: Progress) -> OutageTimes:
    """Measure ``requests`` escalations, at least 1, in each state.

    Raises StartFailed where a process does not come up, WrongReplies where one answers wrongly.
    """
    (port,) = free_ports(1)
    cores = processes.cores()
    with (
        tempfile.TemporaryDirectory(prefix="understudy-bench-") as name,
        processes.upstream(cores.upstream) as upstream_port,
        processes.load_generator(cores.load) as load,
        contextlib.ExitStack() as ends,
    ):
        folder = Path(name)
        program, url = valkey_program(port, folder / "store")
        store = _Store(program)
        ends.callback(store.end)
        store.put(StoreState.UP)
        scenarios.write_configuration(folder, [ESCALATE], upstream_port)
        options = scenarios.options(folder, url)
        with processes.gateway(folder, options, cores.gateway) as gateway:
            stand = Stand(gateway, load, upstream_port)
            found = _rounds(stand, store, requests, progress)
            store.put(StoreState.UP)
            progress("waiting for the pairs")
            return OutageTimes(CONCURRENCY, _shipped(stand), found)


def _rounds(
    stand: Stand, store: _Store, requests: int, progress: Progress
) -> list[OutageMeasurement]:
    target = scenarios.gateway_target(ESCALATE, stand.gateway.port)
    stand.run(Job(target, CONCURRENCY, WARM_UP_REQUESTS))
    latencies: dict[StoreState, list[list[float]]] = {state: [] for state in StoreState}
    rounds = ROUNDS if requests >= ROUNDS * 4 * CONCURRENCY else 1
    for number in range(rounds):
        # Whatever comes first in a round may find the machine as the last round left it.
        for state in _turned(number):
            progress(f"store {state}, round {number + 1} of {rounds}")
            store.put(state)
            time.sleep(SETTLE_SECONDS)
            latencies[state].append(
                stand.run(Job(target, CONCURRENCY, requests // rounds)).latencies_ms
            )
    return [_measured(state, seen) for state, seen in latencies.items()]


def _turned(number: int) -> Iterator[StoreState]:
    states = list(StoreState)
    for place in range(len(states)):
        yield states[(number + place) % len(states)]


def _measured(state: StoreState, rounds: list[list[float]]) -> OutageMeasurement:
    all_of_them = [latency for each in rounds for latency in each]
    return OutageMeasurement(
        state=state,
        requests=len(all_of_them),
        latency_ms_median=round(statistics.median(all_of_them), 3),
        latency_ms_p99=round(p99(all_of_them), 3),
        median_ms_rounds=[round(statistics.median(each), 3) for each in rounds],
    )


def _shipped(stand: Stand) -> int:
    """How many pairs the gateway says it has shipped, once that is all of them."""
    labels = f'{{cascade="{ESCALATE.name}"}}'
    written = stand.metric(f"understudy_pairs_written_total{labels}")
    end = time.monotonic() + processes.START_SECONDS
    while (shipped := stand.metric(f"understudy_pairs_shipped_total{labels}")) < written:
        if time.monotonic() > end:
            raise StartFailed(f"of {written:g} pairs {shipped:g} reached the store")
        time.sleep(processes.POLL_SECONDS)
    return int(written)
