"""``understudy serve``: run the gateway."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import uvicorn
import uvloop
from rich.console import Console
from rich.text import Text

from gateway.app import Gateway, build_gateway, create_app, create_ops_app
from gateway.cascades import load_cascades
from gateway.config_file import ConfigError
from gateway.key_entries import load_keys
from gateway.named_models import load_models
from gateway.roots import words_of
from gateway.settings import Settings, load_settings, read_secret, spelled
from gateway.telemetry.log import ServerLogHandler
from understudy.web_server import Server, web_server

CONFIG_EXIT_CODE = 2
BACKLOG = 2048
SPARE_DESCRIPTORS = 64
CUT_SECONDS = 1.0  # for the word that this is the end to reach the clients of what is cut
OPS_SECONDS = 1.0  # for whoever reads /metrics when everything else is over
LEAVE_SECONDS = 1.0  # for what is left then and cannot be cancelled
# Half of them look up names, and a look-up cannot be cancelled.  With libuv's own 4 two tries to
# find a Redis whose name nobody answers for would keep models from being found.
LOOP_THREADS = 128
GC_ALLOCATIONS = 10_000  # between two looks of the garbage collector; Python's own is 700
# How long the loop waits for a thread that computes, in each of its turns; Python's own is 0.005.
SWITCH_SECONDS = 0.0005


def serve(
    *,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    ops_port: int | None = None,
    redis_url: str | None = None,
    state_dir: Path | None = None,
    keys_file: Path | None = None,
    keys_in_redis: bool | None = None,
    insecure: bool | None = None,
    log_level: str | None = None,
) -> int:
    """Run the gateway.  Each option overrides its variable: --port is UNDERSTUDY_PORT, and so on.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    host
        The address to listen on; beyond loopback it needs keys or --insecure.
    port
        The port of the API.
    ops_port
        A port of its own for /metrics.
    redis_url
        Where pairs go, for example redis://127.0.0.1:6379/0.
    state_dir
        Writable directory for the journal; several processes may share it.
    keys_file
        YAML file with the clients' keys.
    keys_in_redis
        Clients' keys are in Redis too.
    insecure
        Listen beyond loopback without keys.
    log_level
        debug, info, warning or error.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    console = Console(stderr=True)
    try:
        settings = load_settings(given)
        keys = load_keys(settings.keys_file, is_in_redis=settings.keys_in_redis)
        cascades = load_cascades(settings.config, read_secret)
        models = load_models(settings.config, read_secret)
        gateway = build_gateway(settings, cascades, keys, models)
        sockets = [_bound(settings.host, settings.port, "port")]
        if settings.ops_port is not None:
            sockets.append(_bound(settings.host, settings.ops_port, "ops_port"))
    except ConfigError as error:
        console.print(Text("Cannot start: ", style="bold red") + Text(str(error)), soft_wrap=True)
        return CONFIG_EXIT_CODE
    _raise_descriptor_limit(gateway, settings)
    # What exists now lives as long as the process: the collector need not look at it again, and
    # what a request makes is freed without it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    sys.setswitchinterval(SWITCH_SECONDS)
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(LOOP_THREADS))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(gateway, settings, sockets))
        # Closing the loop waits for each look-up of a name that is under way, and where the name
        # service is silent these take half a minute each and more.  Nothing is lost with them.
        leaving = threading.Timer(LEAVE_SECONDS, os._exit, (status,))
        leaving.daemon = True
        leaving.start()
    leaving.cancel()
    return status


def _bound(host: str, port: int, name: str) -> socket.socket:
    """A socket that listens there.  Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{spelled(name)}: cannot listen on {host} port {port}: {words_of(error)}: choose a "
            "free port, and a host that is this machine's"
        ) from None


def _raise_descriptor_limit(gateway: Gateway, settings: Settings) -> None:
    """Take as many file descriptors as the system gives: each open request needs about two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.max_open_requests + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            gateway.context.observer.log.warning("few_descriptors", has=most, wants=wanted)


async def _serve(gateway: Gateway, settings: Settings, sockets: Sequence[socket.socket]) -> int:
    _take_over_logging(gateway)
    main = web_server(create_app(gateway))
    ops = web_server(create_ops_app(gateway)) if len(sockets) > 1 else None
    drain = _Drain(gateway, main, settings.drain_seconds)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, drain.begin, settings.shutdown_delay_seconds)
    # From a terminal: there is no balancer that has to learn of it.
    loop.add_signal_handler(signal.SIGINT, drain.begin, 0)
    gateway.context.observer.log.info(
        "listening",
        places=[_place(one) for one in sockets],
        cascades=sorted(gateway.context.served),
    )
    beside = [] if ops is None else [asyncio.create_task(ops.serve(sockets=[sockets[1]]))]
    async with gateway.running():  # not the server's affair, which forgets it when it has to hurry
        await main.serve(sockets=[sockets[0]])
        await drain.cut()
    drain.tell()
    if ops is not None:
        ops.should_exit = True  # last, so that the drain can be watched
        loop.call_later(OPS_SECONDS, _force, ops)
    await asyncio.gather(*beside)
    return 0 if main.started else 1


def _place(bound: socket.socket) -> str:
    host, port, *_ = bound.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _force(server: uvicorn.Server) -> None:
    server.force_exit = True


class _Drain:
    """The end, step by step: not ready any more, but still here for who does not know it yet; no
    new connections, but open requests may go on for a while; then they are cut and told so.
    """

    def __init__(self, gateway: Gateway, main: Server, seconds: float) -> None:
        self._gateway = gateway
        self._main = main
        self._seconds = seconds
        self._began: float | None = None

    def begin(self, delay_seconds: int) -> None:
        """Be not ready from now on, and close after the delay; told twice, wait for nothing."""
        if self._began is not None:
            self._close()
            _force(self._main)
            return
        self._began = time.monotonic()
        context = self._gateway.context
        context.is_draining = True
        context.observer.log.info(
            "draining",
            open=context.open_requests,
            shutdown_delay_seconds=delay_seconds,
            drain_seconds=self._seconds,
        )
        self._main.end_connections(delay_seconds)
        asyncio.get_running_loop().call_later(delay_seconds, self._close)

    def _close(self) -> None:
        """Take no new connections from now on."""
        self._main.should_exit = True
        asyncio.get_running_loop().call_later(self._seconds, _force, self._main)

    async def cut(self) -> None:
        """End what is still open, once more where a client reads not even the word of that."""
        for _ in range(2):
            tasks = list(self._main.server_state.tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CUT_SECONDS)

    def tell(self) -> None:
        """Say what became of the drain, once pairs are flushed."""
        if self._began is None:
            return
        context = self._gateway.context
        context.observer.log.info(
            "drained",
            cut=context.cut_requests,
            seconds=round(time.monotonic() - self._began, 3),
            unshipped_bytes=self._gateway.pairs.state().unshipped_bytes,
        )


def _take_over_logging(gateway: Gateway) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [ServerLogHandler(gateway.context.observer.log)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
