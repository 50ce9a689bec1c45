"""Sockets are tested on asyncio's own loop and on uvloop, which the gateway runs on."""

from typing import Any

import pytest


@pytest.fixture(params=["asyncio", "uvloop"], scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
