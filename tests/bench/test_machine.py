"""A report names the processor as the kernel does."""

import os
import platform
from pathlib import Path

import pytest

from bench import machine
from bench.machine import this_machine


def test_the_processor_is_named_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC: some\n\n")
    found = this_machine()
    assert found.processor == "AMD EPYC: some"
    assert (found.system, found.kernel) == (platform.system(), platform.release())
    assert Path(found.interpreter).name.startswith("python")
    assert 1 <= found.cores <= (os.cpu_count() or 1)


@pytest.mark.parametrize("text", [None, "Features\t: fp asimd\n"])
def test_a_kernel_that_does_not_say_is_no_error(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert this_machine().processor == "unknown"
