"""The gateways that are measured beside ours: where each comes from, and how it is started.

Each has the settings that its own documentation recommends for speed, and none that it would not
have where it is used.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench import scenarios, upstream
from bench.environments import environment, locked_version
from bench.load import Target
from bench.processes import MOST_OPEN, GatewayProcess, Progress, Start, started
from understudy.demo.processes import free_ports

# LiteLLM takes a quarter of a minute to import itself on a processor that others use too.
START_SECONDS = 180.0
CHAT_PATH = "/v1/chat/completions"
KEY = "sk-" + scenarios.KEY


@dataclass(frozen=True, slots=True)
class Place:
    """What a peer is started with: its environment, a folder of its own, and where its upstream is.

    ``environment`` is None for one that needs none.  ``ports`` are two free ones.
    """

    environment: Path | None
    folder: Path
    upstream_port: int
    ports: tuple[int, int]

    @property
    def upstream(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.upstream_port}"

    def program(self, name: str) -> str:
        """A program of the environment."""
        assert self.environment is not None
        return str(self.environment / "bin" / name)


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them.  ``package`` is what its lock is named after, None for our own relay."""

    name: str
    package: str | None
    command: Callable[[Place], list[str]]
    ready_path: str
    chat_path: str = CHAT_PATH
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The release that is measured, empty for our own."""
        return "" if self.package is None else locked_version(self.package, self.package)

    def target(self, port: int) -> Target:
        """The bench's requests to it; the answer is the student's, log-probabilities and all."""
        return scenarios.passing_target(port, self.chat_path, KEY)


def _relay(place: Place) -> list[str]:
    options = ["--upstream", place.upstream, "--port", str(place.ports[0])]
    return [sys.executable, "-m", "bench.relay", *options]


def _router(place: Place, program: list[str]) -> list[str]:
    """Two routers in Rust have one ancestor, and its options."""
    return [
        *program,
        *("--host", "127.0.0.1", "--port", str(place.ports[0])),
        *("--worker-urls", f"{place.upstream}/{upstream.SURE}"),
        *("--policy", "round_robin", "--prometheus-port", str(place.ports[1])),
        *("--max-concurrent-requests", str(MOST_OPEN)),
    ]


def _vllm_router(place: Place) -> list[str]:
    return [*_router(place, [place.program("vllm-router")]), "--log-level", "warning"]


def _smg(place: Place) -> list[str]:
    return [*_router(place, [place.program("smg"), "launch"]), "--log-level", "warn"]


def _litellm(place: Place) -> list[str]:
    """One worker, a master key, and the settings of its own benchmark; no data base, no budgets."""
    base = f"{place.upstream}{upstream.base_path(upstream.SURE)}"
    chosen = {"model": "openai/static", "api_base": base, "api_key": "none"}
    config = {
        "model_list": [{"model_name": "static", "litellm_params": chosen}],
        "litellm_settings": {
            "set_verbose": False,
            "request_timeout": 600,
            "callbacks": [],
            "num_retries": 0,
        },
        "general_settings": {"master_key": KEY},
    }
    file = place.folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(config))
    return [
        *(place.program("litellm"), "--config", str(file)),
        *("--host", "127.0.0.1", "--port", str(place.ports[0]), "--num_workers", "1"),
    ]


RELAY = Peer(
    "relay",
    None,
    _relay,
    ready_path="/",
    chat_path=f"{upstream.base_path(upstream.SURE)}/chat/completions",
)
VLLM_ROUTER = Peer("vllm-router", "vllm-router", _vllm_router, ready_path="/readiness")
SMG = Peer("smg", "smg", _smg, ready_path="/readiness")
LITELLM = Peer(
    "LiteLLM",
    "litellm",
    _litellm,
    ready_path="/health/liveliness",
    env={
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY_DISABLED": "true",
    },
)
PEERS = (VLLM_ROUTER, SMG, RELAY, LITELLM)


@contextmanager
def running(peer: Peer, place: Place, allowed: frozenset[int] | None) -> Iterator[GatewayProcess]:
    """A peer that takes requests.  Raises StartFailed."""
    place.folder.mkdir(exist_ok=True)
    env = {**os.environ, **peer.env}
    start = Start(
        peer.name, peer.command(place), place.ports[0], peer.ready_path, env, START_SECONDS
    )
    with started(start, place.folder, allowed) as process:
        yield process


def place_of(peer: Peer, folder: Path, upstream_port: int, progress: Progress) -> Place:
    """Where a peer runs, installed where it has to be.  Raises Absent."""
    first, second = free_ports(2)
    installed = None if peer.package is None else environment(peer.package, progress)
    return Place(installed, folder / peer.name, upstream_port, (first, second))
