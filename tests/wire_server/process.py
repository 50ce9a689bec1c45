"""A gateway as its own process, by the command line that an operator starts."""

import atexit
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.fakes.serving import PLAIN_HTTP, cascade_document, free_port, wait_until
from tests.wire_server.forking import Forked, Nursery


def get(url: str) -> httpx.Response:
    """What a server of this machine says."""
    return httpx.get(url, trust_env=False, verify=PLAIN_HTTP)


@dataclass
class GatewayProcess:
    """The process, its address and its log."""

    process: subprocess.Popen[bytes] | Forked
    url: str
    state: Path
    log_path: Path

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_bytes().splitlines()]

    def wait_for_line(self, event: str) -> None:
        """Wait until the log has a line of that event."""
        wait_until(lambda: f'"event":"{event}"' in self.log_path.read_text())

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        text = get(self.url + "/metrics").text
        rows = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


@cache
def _nursery() -> Nursery:
    """One for all gateways of this process, as long as it lasts."""
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


@contextlib.contextmanager
def gateway_process(
    folder: Path,
    student_url: str,
    teacher_url: str,
    changes: Mapping[str, Any] | None = None,
    /,
    **environment: str,
) -> Iterator[GatewayProcess]:
    """Start `understudy serve`, its cascade with ``changes``; killed at the end where it runs."""
    cascade = cascade_document(student_url, teacher_url, **(changes or {}))
    with process_serving(folder, {"cascades": {"assistant": cascade}}, **environment) as started:
        yield started


@contextlib.contextmanager
def process_serving(
    folder: Path,
    document: Mapping[str, Any],
    /,
    within: Sequence[str] = (),
    **environment: str,
) -> Iterator[GatewayProcess]:
    """The same with a whole file of cascades; ``within`` is a command that becomes another one."""
    config = folder / "cascades.yaml"
    config.write_text(yaml.safe_dump(document))
    port, log_path = free_port(), folder / "gateway.log"
    arguments = ["serve", "--config", str(config), "--port", str(port)]
    variables = os.environ | {"UNDERSTUDY_STATE_DIR": str(folder / "state")} | environment
    process: subprocess.Popen[bytes] | Forked
    with log_path.open("ab") as log:
        if within:
            command = [*within, sys.executable, "-m", "understudy", *arguments]
            process = subprocess.Popen(command, env=variables, stderr=log)
        else:
            process = _nursery().start(arguments, variables, log)
    started = GatewayProcess(process, f"http://127.0.0.1:{port}", folder / "state", log_path)

    def is_ready() -> bool:
        assert process.poll() is None, log_path.read_text()
        with contextlib.suppress(httpx.TransportError):
            return get(started.url + "/readyz").status_code == 200
        return False

    try:
        wait_until(is_ready, seconds=20)
        yield started
    finally:
        process.kill()
        process.wait(10)
