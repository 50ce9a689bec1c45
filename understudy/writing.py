"""Files that are there whole or not at all, also for who reads them meanwhile."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that others may read: it must hold no prompt, no answer and no key."""
    _write(path, content, None)


def rewrite_whole(path: Path, content: bytes) -> None:
    """The same; where there is a file already, it stays whose it was, and may be read by the same
    as before.
    """
    _write(path, content, path.stat() if path.exists() else None)


def _write(path: Path, content: bytes, before: os.stat_result | None) -> None:
    beside = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it is closed before it is renamed
        dir=path.parent, prefix=f".{path.name}.", delete=False
    )
    try:
        with beside as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            with suppress(PermissionError):  # only root may give files away
                os.chown(beside.name, before.st_uid, before.st_gid)
        # A gateway that runs as somebody else reads it.
        Path(beside.name).chmod(0o644 if before is None else stat.S_IMODE(before.st_mode))
        Path(beside.name).replace(path)
    except BaseException:
        Path(beside.name).unlink(missing_ok=True)
        raise
