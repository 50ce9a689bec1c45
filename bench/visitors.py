"""The clients of a scripted hour: they come at random, more at times, some leave, some err."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

# Of all requests: streams, those whose client leaves, those that are no valid request.
STREAM_SHARE, LEAVING_SHARE, WRONG_SHARE = 0.5, 0.03, 0.01
MOST_OPEN = 64
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Incident:
    """A model that is away from one share of the time to another."""

    role: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Script:
    """What comes to the gateways: ``per_second`` requests in the mean, for so many seconds."""

    gateways: Sequence[str]
    models: str
    key: str
    cascades: Sequence[tuple[str, float]]
    seconds: float
    per_second: float
    incidents: Sequence[Incident] = ()
    harder_from: float = 0.75
    seed: int = 7


async def visit(script: Script) -> int:
    """Play it; how many requests were sent."""
    dice = random.Random(script.seed)
    began = time.monotonic()
    sent = 0
    limits = httpx.Limits(max_connections=MOST_OPEN)
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for incident in script.incidents:
            tasks.create_task(_play(client, script, incident))
        while (share := (time.monotonic() - began) / script.seconds) < 1:
            sent += 1
            tasks.create_task(_ask(client, script, sent, share))
            # Two waves of visitors, and a third as many in between.
            pace = script.per_second * (1 + 0.5 * math.sin(share * 4 * math.pi))
            await asyncio.sleep(dice.expovariate(pace))
    return sent


async def _play(client: httpx.AsyncClient, script: Script, incident: Incident) -> None:
    for share in (incident.start, incident.end - incident.start):
        await asyncio.sleep(share * script.seconds)
        await client.post(f"{script.models}/away/{incident.role}")


async def _ask(client: httpx.AsyncClient, script: Script, number: int, share: float) -> None:
    dice = random.Random(f"visitor {number}")
    names, weights = zip(*script.cascades, strict=True)
    (cascade,) = dice.choices(names, weights)
    hard = 1_000_000 if share > script.harder_from else 0
    is_stream = dice.random() < STREAM_SHARE
    body: dict[str, object] = {
        "model": cascade,
        "messages": [
            {"role": "system", "content": "You answer questions about orders."},
            {"role": "user", "content": f"Where is order {number + hard}? " + "Please. " * 20},
        ],
        "temperature": 0,
        "stream": is_stream,
    }
    if dice.random() < WRONG_SHARE:
        body["messages"] = "none"
    url = f"{dice.choice(script.gateways)}/v1/chat/completions"
    headers = {"authorization": f"Bearer {script.key}"}
    leaves = is_stream and dice.random() < LEAVING_SHARE
    with contextlib.suppress(httpx.HTTPError):  # the gateway counts what came to nothing
        async with client.stream("POST", url, json=body, headers=headers) as response:
            async for _ in response.aiter_bytes():
                if leaves:
                    return
