"""How a command of the demo ends, whatever happens: a sentence, a status, and nothing running."""

import contextlib
import importlib.util
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from rich.console import Console

from understudy.demo.processes import ProcessFailedError
from understudy.demo.state import StateInUseError

FAILED = 1
CANNOT_START = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it.


def carry_out(name: str, work: Callable[[], int], console: Console) -> int:
    """The exit status of ``work``; what stops it is told, never as a traceback."""
    try:
        with _endings_raised():
            return work()
    except (ProcessFailedError, StateInUseError) as error:
        say(f"The {name} failed: {error}", console)
        return FAILED
    except KeyboardInterrupt:
        console.print("Interrupted.  Everything is stopped.")
        return INTERRUPTED


def say(text: str, console: Console) -> None:
    """Print a text as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def missing_packages(name: str, needed: Sequence[str], how_to_install: str) -> str | None:
    """Which packages a command lacks, and what to do; None where it has all."""
    missing = [each for each in needed if importlib.util.find_spec(each) is None]
    return f"The {name} needs {', '.join(missing)}.  {how_to_install}" if missing else None


@contextlib.contextmanager
def _endings_raised() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that these too leave nothing running."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, leave) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
