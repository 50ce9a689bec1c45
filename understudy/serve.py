"""``understudy serve``: run the gateway."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from gateway.app import Gateway, build_gateway, create_app, create_ops_app
from gateway.cascades import load_cascades
from gateway.config_file import ConfigError, fix_of
from gateway.keys import load_keys
from gateway.settings import Settings, read_secret, spelled
from gateway.telemetry.log import ServerLogHandler

CONFIG_EXIT_CODE = 2
BACKLOG = 2048
SPARE_DESCRIPTORS = 64
GC_ALLOCATIONS = 10_000  # between two looks of the garbage collector; Python's own is 700


def serve(
    *,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    ops_port: int | None = None,
    redis_url: str | None = None,
    state_dir: Path | None = None,
    keys_file: Path | None = None,
    insecure: bool | None = None,
    log_level: str | None = None,
) -> int:
    """Run the gateway.  Each option overrides its variable: --port is UNDERSTUDY_PORT, and so on.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    host
        The address to listen on; beyond loopback it needs a keys file or --insecure.
    port
        The port of the API.
    ops_port
        A port of its own for /metrics.
    redis_url
        Where pairs go, for example redis://127.0.0.1:6379/0.
    state_dir
        Writable directory for the journal.
    keys_file
        YAML file with the clients' keys.
    insecure
        Listen beyond loopback without keys.
    log_level
        debug, info, warning or error.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    console = Console(stderr=True)
    try:
        settings = load_settings(given)
        keys = load_keys(settings.keys_file)
        gateway = build_gateway(settings, load_cascades(settings.config, read_secret), keys)
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
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(gateway, settings, sockets))


def load_settings(given: dict[str, Any]) -> Settings:
    """Settings from the environment, overridden by ``given``.  Raises ConfigError."""
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            fix = fix_of(problem["type"])
            message += f": {fix}" if fix else ""
            lines.append(f"{spelled(name)}: {message}" if name else message)
        raise ConfigError("\n".join(lines)) from None


def _bound(host: str, port: int, name: str) -> socket.socket:
    """A socket that listens there.  Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        message = f"cannot listen on {host} port {port}: {error.strerror}"
        raise ConfigError(f"{spelled(name)}: {message}") from None


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
    main = _server(create_app(gateway), settings)
    ops = _server(create_ops_app(gateway), settings) if len(sockets) > 1 else None

    def stop(*_: object) -> None:
        gateway.context.is_draining = True
        main.force_exit = main.should_exit  # told twice
        main.should_exit = True

    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
    beside = [] if ops is None else [asyncio.create_task(ops.serve(sockets=[sockets[1]]))]
    await main.serve(sockets=[sockets[0]])
    if ops is not None:
        ops.should_exit = True  # last, so that the drain can be watched
    await asyncio.gather(*beside)
    return 0 if main.started else 1


class _Server(uvicorn.Server):
    """A server whose signals are ours: two servers share this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals alone."""
        yield


def _server(app: Any, settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        timeout_keep_alive=75,
    )
    return _Server(config)


def _take_over_logging(gateway: Gateway) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [ServerLogHandler(gateway.context.observer.log)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
