"""What comes of asking a server for its models: a list, none, or the reason of a connection."""

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest

from tests.fakes.serving import closed_port_url, serving
from tests.fakes.upstream import ScriptedModel
from tests.fakes.vllm import Flags, ScriptedVllm
from understudy.doctor.findings import Fault, State
from understudy.doctor.listing import Listener, Listing, Told, Unlisted


def asked(url: str, key: str | None = None, seconds: float = 10) -> Told | Fault:
    return asyncio.run(Listener(seconds, time.time).ask(f"{url}/v1", key))


def fault(url: str, seconds: float = 10) -> Fault:
    found = asked(url, seconds=seconds)
    assert isinstance(found, Fault)
    return found


def listed(body: bytes, status: int = 200) -> Listing | Unlisted | Fault:
    with serving(ScriptedVllm(Flags(listing=body, status=status))) as url:
        told = asked(url)
    return told if isinstance(told, Fault) else told.listing


def test_models_are_listed_with_their_context() -> None:
    entries = [
        {"id": "base", "parent": None, "max_model_len": 2048},
        {"id": "adapter", "parent": "base", "max_model_len": None},
        {"id": "gguf", "meta": {"n_ctx": 8192}},
        {"id": "hosted"},
    ]
    body = json.dumps({"data": entries}).encode()
    assert listed(body) == Listing({"base": 2048, "adapter": 2048, "gguf": 8192, "hosted": None})


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"<html>", 200, Unlisted("lists no models")),
        (b"{}", 200, Unlisted("lists no models")),
        (b'{"data": ["name"]}', 200, Unlisted("lists no models")),
        (b"", 404, Unlisted("lists no models (status 404)")),
        (b"", 401, Unlisted("lists no models (status 401)", is_about_key=True)),
    ],
)
def test_a_server_without_a_list_is_told_from_one_that_wants_a_key(
    body: bytes, status: int, expected: Unlisted
) -> None:
    assert listed(body, status) == expected


def test_a_server_that_is_not_ready_is_away() -> None:
    found = listed(b"", 503)
    assert isinstance(found, Fault)
    assert (found.state, found.saw) == (State.AWAY, "is not ready (status 503)")


def test_a_key_is_sent_and_the_clock_is_read() -> None:
    with serving(ScriptedVllm(Flags(api_key="right"))) as url:
        told = asked(url, "right")
        assert isinstance(told, Told)
        assert isinstance(told.listing, Listing)
        assert told.drift is not None
        assert not told.drift.is_off
        refused = asked(url, "wrong")
        assert isinstance(refused, Told)
        assert refused.listing == Unlisted("lists no models (status 401)", is_about_key=True)


def test_nobody_who_listens_is_away() -> None:
    found = fault(closed_port_url())
    assert (found.state, found.saw) == (State.AWAY, "not reached: Connection refused")
    assert "nothing listens there" in found.advice


def test_a_host_that_nobody_knows_may_be_one_that_is_down() -> None:
    found = fault("http://no-such-host.invalid")
    assert found.state is State.AWAY
    assert "name service" in found.advice


def test_a_server_that_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = fault(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.1)
    assert (found.state, found.saw) == (State.AWAY, "not reached: timed out")
    assert "--timeout" in found.advice


def test_a_connection_without_trust_or_tls_is_to_be_mended(self_signed: Path) -> None:
    with serving(ScriptedModel(), certificate=self_signed) as url:
        found = fault(url)
    assert found.state is State.PROBLEM
    assert found.saw == "not reached: certificate verify failed: self-signed certificate"
    assert "SSL_CERT_FILE" in found.advice
    with serving(ScriptedModel()) as plain:
        found = fault(plain.replace("http:", "https:"))
    assert found.state is State.PROBLEM
    assert "speaks no TLS" in found.advice


def test_the_doctor_trusts_whom_the_gateway_trusts(trusted: Path) -> None:
    with serving(ScriptedVllm(), certificate=trusted) as url:
        assert isinstance(asked(url), Told)
