"""Pods as processes, started, probed and ended as a kubelet does it."""

import asyncio
import contextlib
import math
import random
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.deploy.mounting import Here, Place, command_of, environment_of, mount
from tests.deploy.rendering import Manifest
from tests.fakes.balancer import Balancer

# From what the API knows of a pod to what each node's proxy does about it; seconds of a cluster
# that is not in a hurry.
PROPAGATION_SECONDS = 5.0
# Even where other seconds are shortened, a probe may take so long: this machine has other work.
LEAST_TIMEOUT_SECONDS = 2.0

Kind = Literal["startupProbe", "readinessProbe", "livenessProbe"]


@dataclass(frozen=True)
class Probe:
    """A container's probe, with its port by number and its seconds as long as they are here."""

    path: str
    port: int
    period: float
    timeout: float
    failures: int

    @classmethod
    def of(cls, container: Mapping[str, Any], kind: Kind, pace: float) -> "Probe":
        found = container[kind]
        wanted, failures = found["httpGet"], found.get("failureThreshold", 3)
        return cls(
            path=wanted["path"],
            port=port_of(container, wanted["port"]),
            period=found.get("periodSeconds", 10) * pace,
            timeout=max(found.get("timeoutSeconds", 1) * pace, LEAST_TIMEOUT_SECONDS),
            # No process starts the faster for it.
            failures=math.ceil(failures / pace) if kind == "startupProbe" else failures,
        )


def port_of(container: Mapping[str, Any], name: str) -> int:
    """The number of a container's port."""
    (number,) = (each["containerPort"] for each in container["ports"] if each["name"] == name)
    return int(number)


@dataclass(frozen=True)
class Seen:
    """What one probe saw: a status, None where nobody took the connection or answered in time."""

    kind: Kind
    status: int | None
    is_ending: bool


class Pod:
    """One pod of a workload, with its volumes.

    ``address`` is where its Service finds it; ``seen`` is what probes saw since its last start.
    """

    def __init__(
        self, workload: Manifest, number: int, here: Here, folder: Path, balancer: Balancer
    ) -> None:
        name, spec = workload["metadata"]["name"], workload["spec"]
        self.name = f"{name}-{number}"
        self.seen: list[Seen] = []
        self.log_path = folder / f"{self.name}.log"
        self._here, self._balancer = here, balancer
        self._spec: Mapping[str, Any] = spec["template"]["spec"]
        (self._container,) = self._spec["containers"]
        self._claims = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())]
        ports = [each["containerPort"] for each in self._container["ports"]]
        self._place = Place(folder / self.name, _free_address(ports))
        service = here.one("Service", name)["spec"]
        assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
        (port,) = service["ports"]
        self.address = (self._place.address, port_of(self._container, port["targetPort"]))
        self._process: asyncio.subprocess.Process | None = None
        self._probing: asyncio.Task[None] | None = None
        self._is_ending = False
        self._is_ready = asyncio.Event()

    @property
    def grace_seconds(self) -> float:
        return float(self._spec["terminationGracePeriodSeconds"]) * self._here.pace

    async def start(self) -> None:
        """Start it, and wait until it is ready; who sends requests hears of that later."""
        mount(self._spec, self._claims, self._here, self._place)
        environment = environment_of(self._container, self._here, self._place)
        self.seen.clear()
        self._is_ending = False
        self._is_ready.clear()
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command_of(self._container, self._place),
                env=environment,
                stderr=log,
                cwd=self._place.root,
            )
        self._probing = asyncio.create_task(self._probe())
        ready = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait({ready, self._probing}, return_when=asyncio.FIRST_COMPLETED)
        assert ready.done(), f"{self.name} was never ready: {self.log_path.read_text()[-2000:]}"

    async def delete(self) -> int:
        """End it as `kubectl delete pod` does; gives its status.

        Raises TimeoutError where it would have to be killed.
        """
        process = self._running()
        self._is_ending = True
        # Who is told of it is told while the process is.
        self._tell_proxies(is_in_service=False)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(self.grace_seconds):
            status = await process.wait()
        await self._stop_probing()
        return status

    async def kill(self) -> None:
        """End it as a node that runs out of memory does."""
        process = self._running()
        self._is_ending = True
        process.kill()
        await process.wait()
        await self._stop_probing()
        self._tell_proxies(is_in_service=False)

    async def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it said in its log, over all its starts."""
        lines = [msgspec.json.decode(line) for line in self.log_path.read_bytes().splitlines()]
        return [line for line in lines if line["event"] == event]

    def statuses(self, kind: Kind, *, is_ending: bool) -> list[int | None]:
        """What the probes of a kind saw, before it was told to end or after."""
        return [one.status for one in self.seen if (one.kind, one.is_ending) == (kind, is_ending)]

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        assert self._process.returncode is None
        return self._process

    async def _stop_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing

    async def _probe(self) -> None:
        """Raises AssertionError where a kubelet would restart the container."""
        startup = self._probe_of("startupProbe")
        for _ in range(startup.failures):
            if await self._look("startupProbe", startup):
                break
            await asyncio.sleep(startup.period)
        else:
            raise AssertionError(f"{self.name} would be restarted: it does not start")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_readiness())
            group.create_task(self._watch_life())

    async def _watch_readiness(self) -> None:
        probe, failures, is_in_service = self._probe_of("readinessProbe"), 0, False
        while True:
            is_well = await self._look("readinessProbe", probe)
            failures = 0 if is_well else failures + 1
            if is_well and not is_in_service:
                is_in_service = True
                self._is_ready.set()
                self._tell_proxies(is_in_service=True)
            elif is_in_service and failures >= probe.failures:
                is_in_service = False
                self._tell_proxies(is_in_service=False)
            await asyncio.sleep(probe.period)

    async def _watch_life(self) -> None:
        """Of a pod that is told to end no kubelet asks this any more."""
        probe, failures = self._probe_of("livenessProbe"), 0
        while not self._is_ending:
            failures = 0 if await self._look("livenessProbe", probe) else failures + 1
            assert failures < probe.failures, f"{self.name} would be restarted"
            await asyncio.sleep(probe.period)

    def _probe_of(self, kind: Kind) -> Probe:
        return Probe.of(self._container, kind, self._here.pace)

    async def _look(self, kind: Kind, probe: Probe) -> bool:
        status = await _status_of(self._place.address, probe)
        self.seen.append(Seen(kind, status, self._is_ending))
        return status is not None and 200 <= status < 400

    def _tell_proxies(self, *, is_in_service: bool) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(PROPAGATION_SECONDS * self._here.pace, self._heard, is_in_service)

    def _heard(self, is_in_service: bool) -> None:
        if not is_in_service:
            self._balancer.remove(self.name)
        elif not self._is_ending:
            self._balancer.add(self.name, self.address)


async def _status_of(address: str, probe: Probe) -> int | None:
    head = f"GET {probe.path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(probe.timeout):
            reader, writer = await asyncio.open_connection(address, probe.port)
            try:
                writer.write(head.encode())
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return None
    return int(line.split()[1]) if line else None


def _free_address(ports: list[int]) -> str:
    """An address on loopback that uses none of these ports: every pod has one of its own."""
    for address in _addresses():
        try:
            for port in ports:
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address
    raise AssertionError("addresses never end")


def _addresses() -> Iterator[str]:
    dice = random.SystemRandom()
    while True:
        yield f"127.{dice.randrange(1, 255)}.{dice.randrange(255)}.{dice.randrange(1, 255)}"
