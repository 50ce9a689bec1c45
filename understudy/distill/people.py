"""Who runs a command, on which cascade, and when they want it to end."""

import getpass
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.settings import read_secret
from understudy.distill.registry import Place
from understudy.distill.settling import World
from understudy.telling import CommandError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def whoami() -> str:
    """The user and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def configured(config: Path, place: Place) -> LoadedCascade:
    """The cascade of a file that is meant.  Raises CommandError."""
    try:
        cascades = load_cascades(config, read_secret)
    except ConfigError as error:
        raise CommandError(f"--config: {error}") from None
    names = ", ".join(loaded.name for loaded in cascades)
    if place.cascade is None and len(cascades) > 1:
        raise CommandError(f"there are several cascades, {names}: choose one with --cascade")
    for loaded in cascades:
        if place.cascade in (None, loaded.name):
            return loaded
    raise CommandError(f"--cascade: there is no {place.cascade!r} in the file, but {names}")


def unhurried() -> World:
    """The world as it is, for what may be interrupted at any moment."""

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    return World(time.time, wait)


@contextmanager
def undoing() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt meanwhile, so that what was begun is undone on the way out."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping() -> Iterator[World]:
    """The world as it is; the first signal to end is heard by its ``wait``, the second ends all."""
    asked = threading.Event()
    before = {each: signal.getsignal(each) for each in _SIGNALS}

    def hear(_: int, __: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    def wait(seconds: float) -> bool:
        is_asked = asked.wait(seconds)
        asked.clear()
        return is_asked

    for each in _SIGNALS:
        signal.signal(each, hear)
    try:
        yield World(time.time, wait)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
