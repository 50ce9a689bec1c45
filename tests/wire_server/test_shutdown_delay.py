"""After SIGTERM, while those who send requests do not know of it yet."""

import http.client
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.fakes.script import Queued, Until, finish, whole
from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import Reply, ScriptedModel
from tests.wire_server.process import GatewayProcess, gateway_process, get

CHAT = "/v1/chat/completions"
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
WORDS = ["word "] * 20  # more than the hold-back window


@pytest.fixture
def student() -> ScriptedModel:
    return ScriptedModel(Reply(steps=whole(WORDS)))


@pytest.fixture
def url(student: ScriptedModel) -> Iterator[str]:
    with serving(student) as url:
        yield url


def ask(connection: http.client.HTTPConnection, **changes: Any) -> http.client.HTTPResponse:
    body = json.dumps(QUESTION | changes)
    connection.request("POST", CHAT, body, {"content-type": "application/json"})
    return connection.getresponse()


def connected(gateway: GatewayProcess) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20))


def is_closed(gateway: GatewayProcess) -> bool:
    with connected(gateway) as connection:
        try:
            connection.connect()
        except ConnectionRefusedError:
            return True
    return False


def line_of(gateway: GatewayProcess, event: str) -> dict[str, Any]:
    (line,) = (line for line in gateway.log() if line["event"] == event)
    return line


def test_in_the_delay_it_is_not_ready_and_answers_each_connection_once_more(
    tmp_path: Path, student: ScriptedModel, url: str
) -> None:
    let_go = Event()
    environment = {"UNDERSTUDY_SHUTDOWN_DELAY_SECONDS": "3600", "UNDERSTUDY_OPS_PORT": "0"}
    with (
        gateway_process(tmp_path, url, url, **environment) as gateway,
        ThreadPoolExecutor(1) as pool,
        connected(gateway) as kept,
        connected(gateway) as fresh,
        connected(gateway) as busy,
    ):
        first = ask(kept)
        assert first.read()
        assert not first.will_close
        student.reply = Reply(steps=[Queued(let_go), *whole(WORDS)])
        under_way = pool.submit(ask, busy, stream=True)
        wait_until(lambda: len(student.requests) == 2)
        gateway.process.terminate()
        gateway.wait_for_line("draining")

        main, ops = (f"http://{place}" for place in line_of(gateway, "listening")["places"])
        for place in (main, ops):
            ready = get(place + "/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
            assert get(place + "/health").status_code == 200
        student.reply = Reply(steps=whole(WORDS))
        for connection in (kept, fresh):
            answer = ask(connection)
            assert (answer.status, answer.getheader("connection")) == (200, "close")
            assert answer.read()
        let_go.set()
        late = under_way.result(20)
        assert late.getheader("connection") == "close"
        assert b"[DONE]" in late.read()

        gateway.process.terminate()
        assert gateway.process.wait(10) == 0
    told = line_of(gateway, "draining")
    assert (told["open"], told["shutdown_delay_seconds"]) == (1, 3600)
    assert line_of(gateway, "drained")["cut"] == 0


@pytest.mark.full
def test_a_stream_that_begins_in_the_delay_may_outlast_it(
    tmp_path: Path, student: ScriptedModel, url: str
) -> None:
    let_go = Event()
    student.reply = Reply(steps=[*whole(WORDS)[:-2], Until(let_go), *finish()])
    environment = {"UNDERSTUDY_SHUTDOWN_DELAY_SECONDS": "1"}
    with gateway_process(tmp_path, url, url, **environment) as gateway:
        gateway.process.terminate()
        gateway.wait_for_line("draining")
        with connected(gateway) as connection:
            stream = ask(connection, stream=True)
            assert stream.readline().startswith(b"data: ")
            wait_until(lambda: is_closed(gateway))
            let_go.set()
            assert stream.read().endswith(b"data: [DONE]\n\n")
        assert gateway.process.wait(10) == 0
    drained = line_of(gateway, "drained")
    assert drained["cut"] == 0
    assert drained["seconds"] >= 1


def test_a_connection_whose_stream_could_not_tell_of_the_end_has_one_answer_more(
    tmp_path: Path, student: ScriptedModel, url: str
) -> None:
    """The stream's headers were out before the signal, so nothing but silence could tell of it."""
    let_go = Event()
    student.reply = Reply(steps=[*whole(WORDS)[:-2], Until(let_go), *finish()])
    environment = {"UNDERSTUDY_SHUTDOWN_DELAY_SECONDS": "2"}
    with gateway_process(tmp_path, url, url, **environment) as gateway:
        with connected(gateway) as connection:
            stream = ask(connection, stream=True)
            assert stream.readline().startswith(b"data: ")
            gateway.process.terminate()
            gateway.wait_for_line("draining")
            wait_until(lambda: is_closed(gateway))
            let_go.set()
            assert stream.read().endswith(b"data: [DONE]\n\n")
            student.reply = Reply(steps=whole(WORDS))
            answer = ask(connection)
            assert (answer.status, answer.getheader("connection")) == (200, "close")
            assert answer.read()
        assert gateway.process.wait(10) == 0
    assert line_of(gateway, "drained")["cut"] == 0


@pytest.mark.full
def test_told_twice_in_the_delay_it_waits_for_nothing(
    tmp_path: Path, student: ScriptedModel, url: str
) -> None:
    student.reply = Reply(delay_seconds=30)
    environment = {
        "UNDERSTUDY_SHUTDOWN_DELAY_SECONDS": "3600",
        "UNDERSTUDY_DRAIN_SECONDS": "3600",
    }
    with (
        gateway_process(tmp_path, url, url, **environment) as gateway,
        ThreadPoolExecutor(1) as pool,
        connected(gateway) as connection,
    ):
        pending = pool.submit(ask, connection)
        wait_until(lambda: student.requests)
        gateway.process.terminate()
        gateway.wait_for_line("draining")
        gateway.process.terminate()
        answer = pending.result(20)
        assert answer.status == 503
        assert json.loads(answer.read())["error"]["code"] == "shutting_down"
        assert gateway.process.wait(10) == 0
    assert line_of(gateway, "drained")["cut"] == 1


def test_a_terminal_does_not_wait_for_the_delay(tmp_path: Path, url: str) -> None:
    environment = {"UNDERSTUDY_SHUTDOWN_DELAY_SECONDS": "3600"}
    with gateway_process(tmp_path, url, url, **environment) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(10) == 0
    assert line_of(gateway, "draining")["shutdown_delay_seconds"] == 0
