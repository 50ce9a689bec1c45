"""Requests that are due at fixed times: a slow answer makes those behind it late, and it shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bench import processes
from bench.load import Job, Load, Target
from bench.processes import load_generator
from bench.scenarios import direct_target
from bench.stand import p99

PAUSE_MS = 1
ANSWER_MS = 64 * PAUSE_MS


def test_latency_counts_from_when_a_request_was_due() -> None:
    with processes.upstream(None) as port, load_generator(None) as load:
        target = direct_target(port, PAUSE_MS)
        patient = load.run(Job(target, 1, 5))
        scheduled = load.run(Job(target, 1, 5, rate=1000))
        spread = load.run(Job(target, 8, 8, rate=100))
    latest = p99(scheduled.latencies_ms)
    assert latest > 5 * ANSWER_MS - 4 - PAUSE_MS  # the fifth waited for four
    assert sorted(scheduled.latencies_ms) == scheduled.latencies_ms
    # On a busy machine all of them take longer, and some of them much: what is usual is what the
    # server takes.  Counted from the start, half of the patient ones would be three answers late.
    assert min(patient.latencies_ms) > ANSWER_MS - PAUSE_MS
    assert sorted(patient.latencies_ms)[2] < latest / 2
    # With connections enough nobody waits, and all of them take as long as the schedule.
    assert sorted(spread.latencies_ms)[3] < 3 * ANSWER_MS
    assert spread.seconds > 0.07 + ANSWER_MS / 1e3 - 0.005


@pytest.mark.parametrize(("kept", "fault"), [(1, None), (0, "the server closed every connection")])
async def test_a_server_may_close_what_it_is_not_asked_on(kept: int, fault: str | None) -> None:
    async with serving(closes=2 - kept) as (load, target):
        outcome = await load.run(Job(target, 2, 3, rate=50))
    assert outcome.fault == fault
    assert len(outcome.latencies_ms) == (3 if kept else 0)


async def test_a_job_does_not_take_over_the_answers_of_one_that_failed() -> None:
    async with serving(closes=0) as (load, target):
        wrong = await load.run(Job(replace(target, text="no"), 2, 8))
        right = await load.run(Job(target, 2, 8))
    assert "lacks the expected text" in (wrong.fault or "")
    assert (right.fault, len(right.latencies_ms)) == (None, 8)


@asynccontextmanager
async def serving(closes: int) -> AsyncIterator[tuple[Load, Target]]:
    """A server that closes the first so many connections at once, and says yes on all others."""
    tasks, load = [], Load()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        is_open = len(tasks) > closes
        while is_open and await reader.read(2**16):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield load, Target(server.sockets[0].getsockname()[1], "/", "key", "{}", "yes")
    load.close()
    await asyncio.gather(*(task for task in tasks if task is not None))
    server.close()
    await server.wait_closed()
