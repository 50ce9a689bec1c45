"""Ties a process to the one that started it: when the parent ends, in any way, so does the child.

On Linux the kernel sends the signal itself, and the tie survives ``exec``.  Elsewhere a process
notices that its parent's id has changed.  ``python -m understudy.demo.lifeline --parent PID --
COMMAND ...`` runs a program that knows nothing of this under the same rule.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

_PR_SET_PDEATHSIG = 1  # From <linux/prctl.h>.
_OUT_OF_SIGHT = 0  # What a parent outside the container is to a process in it.
POLL_SECONDS = 0.2
COMMAND_NOT_RUN = 127  # What shells say of a command that they cannot run.
GRACE_SECONDS = 5.0  # How long an orphan may spend on an orderly end before it is cut short.


def follow_parent() -> None:
    """Make this process end when the process that started it ends.

    It gets SIGTERM first, so that it can close what it holds, and is gone without further notice
    ``GRACE_SECONDS`` later.  Call it once, early, after the SIGTERM handler is in place.  The first
    process of a container has nobody to follow: what started it is out of its sight, and the kernel
    would take the end of one of that program's threads for its end.
    """
    parent = os.getppid()
    if parent == _OUT_OF_SIGHT:
        return
    _ask_kernel_for_signal()
    threading.Thread(target=_end_with, args=(parent,), name="lifeline", daemon=True).start()


def run_tied(parent: int, command: Sequence[str]) -> int:
    """Become ``command``, or on systems without the kernel's help watch over it; an exit status.

    ``parent`` is the id of the process that must be alive: if it is gone before the tie holds, the
    command is not started.  The kernel acts when the *thread* that started this process ends, so
    the starter must use a thread that lives as long as it does, such as its main thread.
    """
    tied = _ask_kernel_for_signal()
    if os.getppid() != parent:
        return 1
    if tied:
        os.execvp(command[0], list(command))
    return watch_over(parent, command)


def watch_over(parent: int, command: Sequence[str]) -> int:
    """Run ``command`` as a child of this process and end it with ``parent``; its exit status.

    SIGTERM and SIGINT sent to this process go on to the child.
    """
    child = subprocess.Popen(command)

    def pass_on(signal_number: int, _frame: FrameType | None) -> None:
        child.send_signal(signal_number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    while child.poll() is None:
        if os.getppid() != parent:
            return _end_child(child)
        time.sleep(POLL_SECONDS)
    return child.returncode


def _end_child(child: subprocess.Popen[bytes]) -> int:
    child.terminate()
    try:
        return child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _ask_kernel_for_signal() -> bool:
    """Have Linux send SIGTERM to this process when its parent ends; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    set_process_control = ctypes.CDLL(None, use_errno=True).prctl
    return bool(set_process_control(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) == 0)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read ``--parent PID -- COMMAND ...`` and run the command tied to that process."""
    parser = argparse.ArgumentParser(prog="understudy.demo.lifeline", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="the process to end with")
    parser.add_argument("command", nargs="+", help="the program to run, with its arguments")
    options = parser.parse_args(arguments)
    try:
        return run_tied(options.parent, options.command)
    except OSError as error:
        print(f"{options.command[0]}: {error.strerror}", file=sys.stderr)
        return COMMAND_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
