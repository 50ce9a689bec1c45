"""Files that are there whole or not at all, also for who reads them meanwhile."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that others may read: it must hold no prompt, no answer and no key."""
    beside = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it is closed before it is renamed
        dir=path.parent, prefix=f".{path.name}.", delete=False
    )
    try:
        with beside as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside.name).chmod(0o644)  # a gateway that runs as somebody else reads it
        Path(beside.name).replace(path)
    except BaseException:
        Path(beside.name).unlink(missing_ok=True)
        raise
