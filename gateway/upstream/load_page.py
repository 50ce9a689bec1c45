"""Reads what a model server's own metrics say of its queue, and nothing else of them."""

import math
from dataclasses import dataclass

from gateway.upstream.faults import NETWORK_ERRORS
from gateway.upstream.http1 import HttpClient
from gateway.upstream.openai import Endpoint

SECONDS = 1.0
MAX_PAGE_BYTES = 4 * 2**20
# llama.cpp's answer where it was started without `--metrics`, and that of a proxy before a server.
NOT_OFFERED, TOO_OFTEN = 501, 429

_WAITING = (b"vllm:num_requests_waiting", b"llamacpp:requests_deferred")
_RUNNING = (b"vllm:num_requests_running", b"llamacpp:requests_processing")
_CACHE = (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")  # the second in older ones
_NAMES = (*_WAITING, *_RUNNING, *_CACHE)


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """Requests that wait and run, of all engines; the fullest cache's part in use; None: unsaid."""

    waiting: float | None = None
    running: float | None = None
    cache: float | None = None


def load_in(page: bytes) -> ServerLoad:
    """What a page in Prometheus' text format says; of a page of another kind, nothing."""
    found: dict[bytes, list[float]] = {}
    for line in page.splitlines():
        if not line.startswith(_NAMES):
            continue
        name = line.partition(b"{")[0].partition(b" ")[0]
        value = _number(line[line.rfind(b"}") + 1 :] if b"{" in line else line[len(name) :])
        if name in _NAMES and value is not None:
            found.setdefault(name, []).append(value)
    waiting, running, cache = (_first(found, names) for names in (_WAITING, _RUNNING, _CACHE))
    return ServerLoad(
        waiting=sum(waiting) if waiting else None,
        running=sum(running) if running else None,
        cache=max(cache) if cache else None,
    )


def _first(found: dict[bytes, list[float]], names: tuple[bytes, ...]) -> list[float]:
    return next((found[name] for name in names if name in found), [])


def _number(text: bytes) -> float | None:
    """The value of a sample, which a time may follow; None where it is none that counts."""
    try:
        value = float(text.split()[0])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


async def ask_for_load(endpoint: Endpoint) -> ServerLoad | None:
    """What a server's own metrics say: nothing where it has none; None where it cannot say now."""
    origin = endpoint.base_url.rstrip("/").removesuffix("/v1")
    http = HttpClient(f"{origin}/metrics", endpoint.authorization, "GET")
    try:
        status, page = await http.post(b"", seconds=SECONDS, most=MAX_PAGE_BYTES)
    except NETWORK_ERRORS:
        return None
    finally:
        http.close()
    if status == TOO_OFTEN or (status >= 500 and status != NOT_OFFERED):
        return None
    return load_in(page) if status == 200 else ServerLoad()
