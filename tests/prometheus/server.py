"""A real Prometheus on loopback, and series put into it at exact times.

Prometheus extrapolates, so what a rate comes to hangs on when samples were taken.  A test that
slept between scrapes would be slow and would still not know.  So samples are written to its
database as they were read from a gateway, at times that the test chooses.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fakes.serving import free_port, wait_until

Labels = frozenset[tuple[str, str]]
NO_LABELS: Labels = frozenset()
# Blocks lie where their samples' times are: nothing may be too old to be kept.
_OPTIONS = ("--storage.tsdb.retention.time=100y", "--log.level=warn")
_START_SECONDS = 30
_QUERY_SECONDS = 30


def binaries() -> tuple[str, str]:
    """Where ``prometheus`` and ``promtool`` are; skips the test where they are not installed."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if server is None or tool is None:
        pytest.skip(
            "prometheus and promtool are not installed (Debian: apt install prometheus), so no "
            "dashboard and no rule is shown to give the right number"
        )
    return server, tool


def labels_of(**labels: str) -> Labels:
    """Labels as results have them."""
    return frozenset(labels.items())


@dataclass(frozen=True)
class Sample:
    """One value of one series at a time, in seconds since 1970."""

    name: str
    labels: Mapping[str, str]
    value: str
    time: float

    def line(self) -> str:
        """As OpenMetrics has it."""
        return f"{series_line(self.name, self.labels.items(), self.value)}{self.time:.3f}\n"


def series_line(name: str, labels: Iterable[tuple[str, str]], value: str) -> str:
    """One line of OpenMetrics but for its time."""
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inner}}} {value} "


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@dataclass
class Prometheus:
    """One server.  It keeps its port and its data over a restart.

    ``targets`` are addresses to scrape, by the job's name; ``rules`` are rule files.
    """

    folder: Path
    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: Sequence[Path] = ()
    scrape_interval: str = "500ms"
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=_QUERY_SECONDS, trust_env=False)
    )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        server, _ = binaries()
        config = self.folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        command = [
            server,
            f"--config.file={config}",
            f"--storage.tsdb.path={self._data}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *_OPTIONS,
        ]
        log_path = self.folder / "prometheus.log"
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log_path.read_text()
            with contextlib.suppress(httpx.TransportError):
                return self.client.get(self.url + "/-/ready").status_code == 200
            return False

        wait_until(is_ready, seconds=_START_SECONDS)

    def stop(self) -> None:
        """Stop it; what it has stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def backfill(self, lines: Iterable[str]) -> None:
        """Put lines of OpenMetrics, in the order of their times, into its database.

        It must not run.
        """
        assert self.process is None, "a running Prometheus sees no new block for a minute"
        _, promtool = binaries()
        self._data.mkdir(parents=True, exist_ok=True)
        source = self.folder / "samples.om"
        with source.open("w") as file:
            file.writelines(lines)
            file.write("# EOF\n")
        command = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
        files = [str(source), str(self._data)]
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def vector(self, query: str, at: float | None = None) -> dict[Labels, Decimal]:
        """The value of an instant query by its labels; a scalar has none."""
        data = self._get("query", {"query": query} | ({} if at is None else {"time": f"{at:.3f}"}))
        if data["resultType"] == "scalar":
            return {frozenset(): Decimal(data["result"][1])}
        assert data["resultType"] == "vector", data["resultType"]
        return {
            frozenset(one["metric"].items()): Decimal(one["value"][1]) for one in data["result"]
        }

    def matrix(
        self, query: str, start: float, end: float, step: float
    ) -> dict[Labels, list[tuple[float, Decimal]]]:
        """The values of a range query by their labels."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        data = self._get("query_range", {"query": query, **times})
        return {
            frozenset(one["metric"].items()): [(at, Decimal(value)) for at, value in one["values"]]
            for one in data["result"]
        }

    def loaded_rules(self) -> list[dict[str, Any]]:
        """Every rule that it runs, with its health."""
        groups = self._get("rules", {})["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        # By POST, for some queries are longer than an address may be.
        verb = "GET" if path == "rules" else "POST"
        response = self.client.request(verb, f"{self.url}/api/v1/{path}", data=dict(parameters))
        body = response.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        assert not body.get("warnings"), f"{parameters}: {body['warnings']}"
        data: dict[str, Any] = body["data"]
        return data

    def _config(self) -> dict[str, Any]:
        jobs = [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in self.targets.items()
        ]
        every = {"scrape_interval": self.scrape_interval, "scrape_timeout": self.scrape_interval}
        return {
            "global": every,
            "scrape_configs": jobs,
            "rule_files": [str(path) for path in self.rules],
        }


@contextlib.contextmanager
def prometheus_in(folder: Path, **options: Any) -> Iterator[Prometheus]:
    """A started Prometheus; stopped at the end, whatever happened in between."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Prometheus(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.client.close()
