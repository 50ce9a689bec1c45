"""On which machine something was measured."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores`` are those that this process may use; ``interpreter`` is Python's own file.

    How that was built counts: one by its distributor, with profiles, is the faster by an eighth.
    """

    system: str
    kernel: str
    architecture: str
    processor: str
    cores: int
    interpreter: str


def this_machine() -> Machine:
    """The one that this runs on."""
    return Machine(
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _count(),
        interpreter=os.path.realpath(sys.executable),
    )


def _count() -> int:
    return os.cpu_count() or 1


def _processor() -> str:
    """Its name as the kernel has it, or what Python knows, which is less."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
