"""The doctor against servers that do as they are told, and against a real small model."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.types import Receive, Scope, Send

from gateway.upstream.probe import PREFIX
from tests.fakes.chunks import USAGE, chunk, usage_report
from tests.fakes.script import ROLE, Raw, entry, finish, whole
from tests.fakes.serving import cascade_document, closed_port_url, free_port, serving, wait_until
from tests.fakes.upstream import Reply, ScriptedModel, completion
from understudy.demo.processes import answers
from understudy.demo.student import MODEL_ALIAS, WeightsNotFoundError, find_weights
from understudy.demo.teacher import create_teacher
from understudy.demo.teacher_wire import MODEL
from understudy.doctor.command import CONFIG_EXIT_CODE, PROBLEM_EXIT_CODE, doctor

DETAILS = {"prompt_tokens_details": {"cached_tokens": 0}}
NAMES = ("upstream-student", "upstream-teacher")


class Server:
    """A model server with a list of models before its scripted answers."""

    def __init__(self, model: ScriptedModel, listing: bytes | None = None, status: int = 200):
        self.model = model
        names = [{"id": name} for name in NAMES]
        self._listing = json.dumps({"data": names}).encode() if listing is None else listing
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "POST":
            await self.model(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        await send({"type": "http.response.body", "body": self._listing})


def running_usage(texts: list[str]) -> list[Any]:
    """A stream of a server that reports usage with every chunk."""
    return [
        ROLE,
        *(Raw(chunk({"content": text}, [entry(text, -0.1)], usage=USAGE)) for text in texts),
        *finish()[:-1],
        Raw(usage_report(USAGE | DETAILS)),
    ]


def well(request: Mapping[str, Any]) -> Reply:
    """All that the gateway relies on."""
    if request["messages"][-1]["role"] == "assistant":
        return Reply(steps=whole([" ", "4", ", 5"]))
    if request.get("stream"):
        return Reply(steps=running_usage(["1", ",", " 2"]))
    return Reply(completion(usage=USAGE | DETAILS))


def configured(folder: Path, student_url: str, teacher_url: str, **changes: Any) -> Path:
    path = folder / "c.yaml"
    document = cascade_document(student_url, teacher_url, **changes)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    return path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


CONTINUE = {"streaming": {"handover": "continue"}}


def test_servers_that_do_all_that_is_needed_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = ScriptedModel()
    scripted.reply = well
    with serving(Server(scripted)) as url:
        assert doctor(configured(tmp_path, url, url, **CONTINUE)) == 0
    said = capsys.readouterr().out
    assert "problem" not in said
    assert "hint" not in said
    assert "Nothing must be mended" in said
    # Two questions each, and whether the teacher goes on: 110 tokens an answer, says the script.
    assert "5 questions took 550 tokens, for " in said
    assert len(scripted.requests) == 5
    assert scripted.requests[-1]["messages"][-1]["content"] == PREFIX.text
    assert scripted.requests[0]["logprobs"] is True
    assert scripted.requests[0]["stream_options"]["continuous_usage_stats"] is True


def test_a_teacher_need_not_go_on_where_no_cascade_wants_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = ScriptedModel()
    scripted.reply = well
    with serving(Server(scripted)) as url:
        assert doctor(configured(tmp_path, url, url)) == 0
    assert len(scripted.requests) == 4
    assert "not needed" in capsys.readouterr().out


def test_each_problem_comes_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = ScriptedModel(Reply(steps=whole(["1", ", 2", ", 3"], None)))
    with serving(Server(silent)) as url:
        config = configured(tmp_path, url, url, **CONTINUE)
        assert doctor(config) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    for words in ("no_signal", "timings_per_token", "--enable-prompt-tokens-details"):
        assert words in said
    assert "'1, 2, 3'" in said  # it began again
    assert "continue_final_message" in said


@pytest.mark.parametrize(
    ("listing", "status", "words"),
    [
        (b'{"data": [{"id": "other"}]}', 200, "has no upstream-student, but other"),
        (b"<html>", 200, "lists no models"),
        (b"{}", 200, "lists no models"),
        (b"", 401, "lists no models (status 401)"),
    ],
)
def test_a_server_that_is_not_as_configured_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listing: bytes, status: int, words: str
) -> None:
    refusing = ScriptedModel(Reply({}, status=404))
    with serving(Server(refusing, listing, status)) as url:
        assert doctor(configured(tmp_path, url, url)) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    assert words in said
    assert "status 404" in said


def test_a_server_that_is_not_there_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = closed_port_url()
    assert doctor(configured(tmp_path, url, url)) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    assert said.count("not reached: Connection refused") == 2
    assert said.count("nothing listens there") == 2
    assert "2 to mend" in said


def test_a_host_that_nobody_knows_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(configured(tmp_path, *["http://no-such-host.invalid"] * 2)) == PROBLEM_EXIT_CODE
    assert "name service" in capsys.readouterr().out


def test_a_connection_without_trust_or_tls_is_told_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], self_signed: Path
) -> None:
    with (
        serving(ScriptedModel(), certificate=self_signed) as url,
        serving(ScriptedModel()) as plain,
    ):
        without_tls = plain.replace("http:", "https:")
        assert doctor(configured(tmp_path, url, without_tls)) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    assert "not reached: certificate verify failed: self-signed certificate" in said
    assert "SSL_CERT_FILE" in said
    assert "speaks no TLS" in said


def test_the_doctor_trusts_whom_the_gateway_trusts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trusted: Path
) -> None:
    scripted = ScriptedModel()
    scripted.reply = well
    with serving(Server(scripted), certificate=trusted) as url:
        assert doctor(configured(tmp_path, url, url)) == 0, capsys.readouterr().out


def test_a_server_that_takes_connections_and_says_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert doctor(configured(tmp_path, url, url), timeout=0.2) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    assert said.count("not reached: timed out") == 2
    assert "--timeout" in said


def test_a_server_that_hangs_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Server(ScriptedModel(Reply(delay_seconds=60)))) as url:
        assert doctor(configured(tmp_path, url, url), timeout=0.2) == PROBLEM_EXIT_CODE
    said = capsys.readouterr().out
    assert "no answer within 0.2 s" in said
    assert "at an unknown cost" in said


@pytest.mark.parametrize(("writes", "status"), [(2, 0), (1, PROBLEM_EXIT_CODE)])
def test_a_student_is_asked_for_several_drafts_where_its_cascade_wants_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], writes: int, status: int
) -> None:
    def answer(request: Mapping[str, Any]) -> Reply:
        if request.get("n") is None:
            return well(request)
        assert (request["n"], request["temperature"]) == (2, 1)
        choices = completion()["choices"] * writes
        return Reply(completion(choices=choices, usage=USAGE | DETAILS))

    student = ScriptedModel()
    student.reply = answer
    teacher = ScriptedModel()
    teacher.reply = well
    with serving(Server(student)) as student_url, serving(Server(teacher)) as teacher_url:
        assert doctor(configured(tmp_path, student_url, teacher_url, samples=2)) == status
    said = capsys.readouterr().out
    assert ("2, as asked for" in said) is (status == 0)
    assert ("1, asked for 2" in said) is (status != 0)


def test_an_invalid_file_is_no_case_for_the_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cascades: {}")
    assert doctor(path) == CONFIG_EXIT_CODE
    assert "Not valid" in capsys.readouterr().err


def test_the_demo_s_own_models_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        find_weights()
    except WeightsNotFoundError as error:
        pytest.skip(f"the real student was not asked: {error}")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "understudy.demo.student",
        "--port",
        str(port),
        "--threads",
        "1",
    ]
    with (
        serving(create_teacher()) as teacher_url,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            student_url = f"http://127.0.0.1:{port}"
            wait_until(answers(f"{student_url}/health"), seconds=40)
            changes: dict[str, Any] = {
                "student": {"model": MODEL_ALIAS, "extra_body": {"timings_per_token": True}},
                "teacher": {"model": MODEL, "running_usage": True},
            }
            config = configured(tmp_path, student_url, teacher_url, **CONTINUE, **changes)
            assert doctor(config) == 0, capsys.readouterr().out
            assert "after '1, 2, 3,' it wrote ' 4, 5" in capsys.readouterr().out
            # Without its timings the real student tells what it used at the end only.
            changes["student"] = {"model": MODEL_ALIAS}
            config = configured(tmp_path, student_url, teacher_url, **CONTINUE, **changes)
            assert doctor(config) == PROBLEM_EXIT_CODE
            said = capsys.readouterr().out
            assert "1 to mend" in said
            assert "timings_per_token" in said
        finally:
            process.kill()
