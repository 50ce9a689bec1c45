"""The demo's state directory: one demo at a time, and private."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class StateInUseError(RuntimeError):
    """Another demo runs in the same state directory."""


@contextlib.contextmanager
def hold_state(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, and make it where it is missing.  The lock ends with the process.

    It is private: pairs hold what users asked.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StateInUseError(
            f"{state_dir} is in use by another demo: stop it, or choose another --state-dir"
        ) from None
    finally:
        os.close(lock)
