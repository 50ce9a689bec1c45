"""Sockets are tested on asyncio's own loop and on uvloop, which the gateway runs on."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(params=["asyncio", "uvloop"], scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that vouches for itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so TLS is not tested")
    path = tmp_path_factory.mktemp("tls") / "server.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run([*command.split(), *names.split(), *files], check=True, capture_output=True)
    return path


@pytest.fixture
def trusted(self_signed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the operator trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(self_signed))
    return self_signed
