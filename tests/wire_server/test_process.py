"""A gateway process, real Valkey, and what happens when either of them goes away."""

import json
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.journals import all_postings
from tests.fakes.script import ROLE, Words
from tests.fakes.serving import PLAIN_HTTP, free_port, serving, wait_until
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import GatewayProcess, gateway_process, get
from understudy.__main__ import app

KEY = "understudy:{assistant}:pairs"
CHAT = "/v1/chat/completions"
ESCALATE = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


@pytest.fixture
def urls() -> Iterator[tuple[str, str, ScriptedModel, ScriptedModel]]:
    student = ScriptedModel(Reply(body=completion("Rome?", UNSURE)))
    teacher = ScriptedModel(Reply(body=completion("Paris.")))
    with serving(student) as student_url, serving(teacher) as teacher_url:
        yield student_url, teacher_url, student, teacher


def ask(gateway: GatewayProcess, client: httpx.Client) -> float:
    """One escalated request; gives the seconds it took."""
    started = time.perf_counter()
    response = client.post(gateway.url + "/v1/chat/completions", json=ESCALATE)
    assert response.headers["x-understudy-served-by"] == "teacher"
    return time.perf_counter() - started


def stored_ids(store: StoreServer) -> list[str]:
    with store.client() as client:
        entries: Any = client.xrange(KEY)
    return [json.loads(fields[b"pair"])["id"] for _, fields in entries]


def test_requests_go_on_while_the_store_is_away_and_pairs_arrive_later(
    tmp_path: Path, store: StoreServer, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, _, _ = urls
    environment = {"UNDERSTUDY_REDIS_URL": store.url}
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP) as client,
    ):
        with_store = [ask(gateway, client) for _ in range(40)]
        wait_until(lambda: len(stored_ids(store)) == 40)
        store.stop()
        without_store = [ask(gateway, client) for _ in range(40)]
        # Far below any timeout of the store; the bench has the precise comparison.
        added = statistics.median(without_store) - statistics.median(with_store)
        assert added < 0.02
        assert gateway.metric("understudy_journal_unshipped_bytes") > 0
        wait_until(lambda: gateway.metric("understudy_store_errors_total") > 0)
        assert get(gateway.url + "/health").status_code == 200
        assert get(gateway.url + "/readyz").status_code == 200
        store.start()
        wait_until(lambda: len(stored_ids(store)) == 80)
        assert len(set(stored_ids(store))) == 80
        assert gateway.metric("understudy_pairs_shipped_total") == 80
        assert gateway.metric("understudy_escalations_total") == 80


def test_pairs_survive_a_gateway_that_is_killed(
    tmp_path: Path, store: StoreServer, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, _, _ = urls
    environment = {"UNDERSTUDY_REDIS_URL": store.url}
    store.stop()
    with gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway:
        with httpx.Client(trust_env=False, verify=PLAIN_HTTP) as client:
            for _ in range(20):
                ask(gateway, client)
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait(10)
    store.start()
    with gateway_process(tmp_path, student_url, teacher_url, **environment):
        wait_until(lambda: len(stored_ids(store)) == 20)


def test_sigterm_ends_open_requests_flushes_pairs_and_exits_with_0(
    tmp_path: Path, store: StoreServer, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, _student, teacher = urls
    environment = {"UNDERSTUDY_REDIS_URL": store.url}
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        ThreadPoolExecutor(5) as pool,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP) as client,
    ):
        teacher.reply = Reply(body=completion("Paris."), delay_seconds=1)
        open_requests = [pool.submit(ask, gateway, client) for _ in range(5)]
        wait_until(lambda: len(teacher.requests) == 5)
        gateway.process.terminate()
        for request in open_requests:
            request.result(timeout=10)
        assert gateway.process.wait(10) == 0
        assert len(set(stored_ids(store))) == 5  # each at least once
        with pytest.raises(httpx.ConnectError):
            client.get(gateway.url + "/health")
    assert [line["outcome"] for line in gateway.log() if line["event"] == "request"] == [
        "escalated"
    ] * 5


def test_the_log_holds_no_prompt_no_answer_and_no_key(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, _, _ = urls
    with (
        gateway_process(
            tmp_path, student_url, teacher_url, UNDERSTUDY_LOG_LEVEL="debug"
        ) as gateway,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP) as client,
    ):
        secret = {"model": "assistant", "messages": [{"role": "user", "content": "sesame-1"}]}
        headers = {"authorization": "Bearer sesame-2"}
        client.post(gateway.url + "/v1/chat/completions", json=secret, headers=headers)
        client.post(gateway.url + "/v1/chat/completions", content=b'{"sesame-3": ')
    log = gateway.log_path.read_text()
    assert "sesame" not in log
    assert "Paris" not in log
    assert "no_store" in log
    assert "uncalibrated" in log


def test_a_bound_that_its_volume_has_no_room_for_is_told_at_start(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, _, _ = urls
    too_much = {"UNDERSTUDY_JOURNAL_MAX_BYTES": str(2**60)}
    with gateway_process(tmp_path, student_url, teacher_url, **too_much) as gateway:
        (doubt,) = [line for line in gateway.log() if line["event"] == "doubtful_setting"]
    assert "UNDERSTUDY_JOURNAL_MAX_BYTES" in doubt["message"]


SERVE = ("serve", "--config", "good.yaml")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "understudy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, **options)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration that will do and one that will not; tests start in it."""
    (tmp_path / "c.yaml").write_text("cascades: {}")
    example = Path(__file__).parents[2] / "understudy.example.yaml"
    (tmp_path / "good.yaml").write_text(example.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve"], "UNDERSTUDY_CONFIG, --config"),
        (["check", "[/red]/nowhere.yaml"], "[/red]/nowhere.yaml"),
    ],
)
def test_a_start_that_cannot_work_says_why_and_exits_with_2(
    files: Path, arguments: list[str], message: str
) -> None:
    result = run(*arguments, cwd=files)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--config", "nowhere.yaml"], "cannot be read"),
        (["serve", "--config", "c.yaml", "--host", "0.0.0.0"], "--insecure"),
        (["serve", "--config", "c.yaml", "--port", "99999"], "UNDERSTUDY_PORT"),
        (["serve", "--config", "c.yaml", "--keys-file", "nowhere"], "cannot be read"),
        (["check", "nowhere.yaml"], "cannot be read"),
        ([*SERVE, "--redis-url", "nonsense"], "UNDERSTUDY_REDIS_URL"),
        ([*SERVE, "--state-dir", "good.yaml"], "UNDERSTUDY_STATE_DIR"),
        ([*SERVE, "--host", "192.0.2.1", "--insecure"], "cannot listen on 192.0.2.1"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_cannot_work_is_found_before_anything_is_served(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert app(arguments, result_action="return_value") == 2
    assert message in capsys.readouterr().err


def test_a_port_in_use_is_named(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert app([*SERVE, "--port", port], result_action="return_value") == 2
        with_ops = run(*SERVE, "--port", str(free_port()), "--ops-port", port, cwd=files)
    assert with_ops.returncode == 2
    assert "Traceback" not in with_ops.stderr
    for said in (capsys.readouterr().err, with_ops.stderr):
        assert f"cannot listen on 127.0.0.1 port {port}" in said
        assert "choose a free port" in said


def test_requests_that_outlast_the_drain_are_told_so(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, student, _ = urls
    student.reply = Reply(delay_seconds=30)
    environment = {"UNDERSTUDY_DRAIN_SECONDS": "1"}
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP, timeout=20) as client,
    ):
        pending = pool.submit(client.post, gateway.url + "/v1/chat/completions", json=ESCALATE)
        wait_until(lambda: student.requests)
        gateway.process.terminate()
        response = pending.result(20)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "shutting_down"
        assert gateway.process.wait(10) == 0


def endings(gateway: GatewayProcess) -> dict[str, Any]:
    """The one line that says what became of the drain; no other line has a traceback."""
    assert not [line for line in gateway.log() if "exception" in line or "Traceback" in str(line)]
    (drained,) = (line for line in gateway.log() if line["event"] == "drained")
    assert gateway.log()[-1] == drained
    return drained


LONG = Reply(steps=[ROLE, Words(["word "] * 500, seconds_each=0.02)])


def test_a_stream_that_outlasts_the_drain_is_cut_and_the_drain_is_told(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, student, _ = urls
    student.reply = LONG
    environment = {"UNDERSTUDY_DRAIN_SECONDS": "1"}
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP, timeout=20) as client,
        client.stream("POST", gateway.url + CHAT, json=ESCALATE | {"stream": True}) as response,
    ):
        text = response.iter_text()
        next(text)
        gateway.process.terminate()
        rest = "".join(text)
        assert "shutting_down" in rest
        assert rest.endswith("data: [DONE]\n\n")
        assert gateway.process.wait(10) == 0
    drained = endings(gateway)
    assert drained["cut"] == 1
    assert 1 <= drained["seconds"] < 3
    # There is no Redis that could have what the request cost.
    assert drained["unshipped_bytes"] > 0
    (posting,) = all_postings(tmp_path / "state")
    assert [name for name in posting.amounts if "request" in name] == ["requests:cancelled:-"]
    (draining,) = (line for line in gateway.log() if line["event"] == "draining")
    assert (draining["open"], draining["drain_seconds"]) == (1, 1)
    assert draining["shutdown_delay_seconds"] == 0


def test_told_twice_it_cuts_at_once_and_still_flushes_pairs(
    tmp_path: Path, store: StoreServer, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, student, _ = urls
    environment = {"UNDERSTUDY_REDIS_URL": store.url}
    store.stop()
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP, timeout=20) as client,
    ):
        ask(gateway, client)
        wait_until(lambda: gateway.metric("understudy_store_errors_total") > 0)
        student.reply = Reply(delay_seconds=30)
        pending = pool.submit(client.post, gateway.url + CHAT, json=ESCALATE)
        wait_until(lambda: len(student.requests) == 2)
        store.start()
        gateway.process.terminate()
        gateway.wait_for_line("draining")
        gateway.process.terminate()
        assert pending.result(20).status_code == 503
        assert gateway.process.wait(10) == 0
        assert len(set(stored_ids(store))) == 1
    drained = endings(gateway)
    assert (drained["cut"], drained["unshipped_bytes"]) == (1, 0)
    assert drained["seconds"] < 10


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    student_url, teacher_url, student, _ = urls
    student.reply = Reply(steps=[ROLE, Words(["word " * 20_000] * 80)])
    environment = {"UNDERSTUDY_DRAIN_SECONDS": "0"}
    with (
        gateway_process(tmp_path, student_url, teacher_url, **environment) as gateway,
        httpx.Client(trust_env=False, verify=PLAIN_HTTP, timeout=20) as client,
        client.stream("POST", gateway.url + CHAT, json=ESCALATE | {"stream": True}) as response,
    ):
        unread = response.iter_raw()
        next(unread)
        gateway.process.terminate()
        assert gateway.process.wait(10) == 0
    assert endings(gateway)["cut"] == 1


def test_where_it_listens_is_told_and_that_its_end_cuts_nothing(
    tmp_path: Path, urls: tuple[str, str, ScriptedModel, ScriptedModel]
) -> None:
    with gateway_process(tmp_path, urls[0], urls[1], UNDERSTUDY_OPS_PORT="0") as gateway:
        (line,) = (line for line in gateway.log() if line["event"] == "listening")
        gateway.process.terminate()
        assert gateway.process.wait(10) == 0
    (drained,) = (line for line in gateway.log() if line["event"] == "drained")
    assert drained["cut"] == 0
    assert "doubtful_setting" not in gateway.log_path.read_text()
    place, ops_place = line["places"]
    assert f"http://{place}" == gateway.url
    assert not ops_place.endswith(":0")
    assert line["cascades"] == ["assistant"]


def test_check_says_what_is_valid() -> None:
    example = Path(__file__).parents[2] / "understudy.example.yaml"
    result = run("check", str(example))
    assert result.returncode == 0
    assert "is valid" in result.stdout
    assert "uncalibrated" in result.stdout


def test_the_command_line_costs_no_heavy_import() -> None:
    code = "import sys, understudy.__main__; print({'torch', 'fastapi'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.stdout.strip() == "set()"
