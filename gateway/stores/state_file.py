"""Files of the state directory, there whole or not at all, whoever is writing beside."""

import os
from contextlib import suppress
from pathlib import Path


def read_state(path: Path) -> bytes | None:
    """What was last saved there; None without a file.  Raises OSError."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def write_state(path: Path, state: bytes, *, mode: int = 0o666) -> None:
    """Save it, also over a loss of power; ``mode`` less the process' mask.  Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
