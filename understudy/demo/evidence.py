"""What others than the client say of a run: the gateway's metrics, and the stream in the store."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import httpx
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from gateway.stores.redis_keys import pairs_key
from understudy.demo.services import CASCADE

PAIRS_KEY = pairs_key(CASCADE)
ARRIVAL_SECONDS = 10.0
POLL_SECONDS = 0.1
PAGE_PAIRS = 500
PICO = Decimal("1e-12")
FROM_THE_START = "0-0"


@dataclass(frozen=True, slots=True)
class Metrics:
    """What ``/metrics`` says of the demo's cascade, since the gateway started.

    ``outcomes`` counts requests by how they ended.  ``baseline_usd`` is the gateway's own estimate
    of what the teacher alone would have cost.
    """

    outcomes: Counter[str]
    cost_usd: Decimal
    wasted_usd: Decimal
    baseline_usd: Decimal
    pairs_written: int
    pairs_shipped: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the stream: how long it is, and the id of its last entry."""

    length: int
    last_id: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry of the stream: whose request it records, and the draft's text, where there is one.

    ``draft`` is None where the student failed or its draft was cut short.
    """

    request_id: str
    draft: str | None


async def read_metrics(gateway_url: str) -> Metrics:
    """The gateway's counters at this moment.  Raises httpx.HTTPError where it does not answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"{gateway_url}/metrics")
    return metrics_of(response.raise_for_status().text)


def metrics_of(exposition: str) -> Metrics:
    """Read Prometheus' text format.  Sums of money are exact to the pico-dollar."""
    outcomes: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    cost = wasted = baseline = Decimal(0)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.labels.get("cascade") != CASCADE:
                continue
            match sample.name:
                case "understudy_requests_total":
                    outcomes[sample.labels["outcome"]] += int(sample.value)
                case "understudy_cost_usd_total":
                    cost += _exact(sample.value)
                    wasted += _exact(sample.value) if sample.labels["kind"] == "wasted" else 0
                case "understudy_baseline_usd_total":
                    baseline += _exact(sample.value)
                case "understudy_baseline_correction_usd_total":
                    is_up = sample.labels["direction"] == "up"
                    baseline += _exact(sample.value) if is_up else -_exact(sample.value)
                case "understudy_pairs_written_total" | "understudy_pairs_shipped_total" as name:
                    sums[name] += int(sample.value)
                case _:
                    pass
    return Metrics(
        outcomes=outcomes,
        cost_usd=cost,
        wasted_usd=wasted,
        baseline_usd=baseline,
        pairs_written=sums["understudy_pairs_written_total"],
        pairs_shipped=sums["understudy_pairs_shipped_total"],
    )


async def mark_stream(store: Redis, key: str = PAIRS_KEY) -> Mark:
    """Where the stream ends now."""
    length = await store.xlen(key)
    newest = await store.xrevrange(key, count=1)
    return Mark(length, _text(newest[0][0]) if newest else FROM_THE_START)


async def pairs_since(store: Redis, mark: Mark, key: str = PAIRS_KEY) -> list[Pair]:
    """All pairs behind ``mark``, oldest first."""
    pairs: list[Pair] = []
    last_id = mark.last_id
    while page := await store.xrange(key, min=f"({last_id}", count=PAGE_PAIRS):
        pairs += [_pair(fields) for _, fields in page]
        last_id = _text(page[-1][0])
    return pairs


async def wait_for_pairs(
    store: Redis, mark: Mark, request_ids: Sequence[str], key: str = PAIRS_KEY
) -> list[Pair]:
    """The pairs behind ``mark``, once all of ``request_ids`` are among them or time is up."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        pairs = await pairs_since(store, mark, key)
        arrived = {pair.request_id for pair in pairs}
        if arrived.issuperset(request_ids) or time.monotonic() > deadline:
            return pairs
        await asyncio.sleep(POLL_SECONDS)


def _exact(usd: float) -> Decimal:
    return Decimal(usd).quantize(PICO)


def _pair(fields: Mapping[bytes | str, bytes | str] | None) -> Pair:
    record = json.loads((fields or {})[b"pair"])
    if not record["draft_complete"]:
        return Pair(record["request_id"], draft=None)
    (choice, *_) = record["content"]["draft"]["choices"]
    return Pair(record["request_id"], choice["message"]["content"])


def _text(entry_id: bytes | str | None) -> str:
    return entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id)
