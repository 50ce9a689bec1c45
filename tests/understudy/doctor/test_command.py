"""The doctor as it is run: what it prints, how it ends, and what it never says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import PREFIX
from tests.fakes.real_student import real_student
from tests.fakes.serving import cascade_document, closed_port_url, serving
from tests.fakes.upstream import Reply
from tests.fakes.vllm import Flags, ScriptedVllm
from tests.understudy.doctor.examining import CONTINUE, configured
from understudy.__main__ import app
from understudy.demo.student import MODEL_ALIAS
from understudy.demo.teacher import create_teacher
from understudy.demo.teacher_wire import MODEL
from understudy.doctor.command import doctor
from understudy.doctor.findings import State, Subject
from understudy.doctor.report import CONFIG_EXIT_CODE, EXIT_CODES, SCHEMA_VERSION, FailOn

# llama.cpp's server ignores tools where the model's template has none.
STUDENT = {"model": MODEL_ALIAS, "cannot": ["tools"]}
SECRETS = ("sk-student-0123", "sk-teacher-0123", "redis-secret-0123")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide screen, and none of the settings of whoever runs the tests."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("CONFIG", "REDIS_URL", "HOST", "STATE_DIR", "KEYS_FILE"):
        monkeypatch.delenv(PREFIX + name, raising=False)


def test_servers_that_do_all_that_is_needed_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vllm: tuple[str, ScriptedVllm]
) -> None:
    assert doctor(configured(tmp_path, vllm[0]), fail_on=FailOn.HINT) == 0
    said = capsys.readouterr().out
    assert "Nothing must be mended" in said
    # Three questions each, and whether the teacher goes on: 110 tokens an answer, says the script.
    assert "7 questions took 770 tokens, for " in said
    assert vllm[0] in said


def test_an_outage_lets_a_gateway_start_that_a_mistake_does_not(
    tmp_path: Path, vllm: tuple[str, ScriptedVllm]
) -> None:
    """As an init container runs it: `understudy doctor --fail-on problem`."""
    url, server = vllm
    away: dict[str, Any] = {"teacher": {"base_url": closed_port_url() + "/v1"}}
    assert doctor(configured(tmp_path, url, **away), fail_on=FailOn.PROBLEM) == 0
    server.flags = Flags(tool_call_parser=False)
    assert doctor(configured(tmp_path, url, **away), fail_on=FailOn.PROBLEM) == 1


def test_problems_and_outages_are_counted_apart_and_each_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vllm: tuple[str, ScriptedVllm]
) -> None:
    url, server = vllm
    server.flags = Flags(max_logprobs=1)
    away: dict[str, Any] = {"teacher": {"base_url": closed_port_url() + "/v1"}}
    assert doctor(configured(tmp_path, url, **away)) == EXIT_CODES[State.PROBLEM]
    said = capsys.readouterr().out
    assert "1 to mend. 1 away now." in said
    assert "student, log-probabilities in streams: " in said
    assert "teacher, server: nothing listens there" in said


def test_json_has_its_documented_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vllm: tuple[str, ScriptedVllm]
) -> None:
    url, server = vllm
    server.flags = Flags(max_logprobs=1)
    assert doctor(configured(tmp_path, url), as_json=True, fail_on=FailOn.NEVER) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {
        *("schema_version", "status", "exit_code", "counts", "error", "findings", "bill")
    }
    assert (told["schema_version"], told["status"], told["exit_code"]) == (1, "problem", 0)
    assert told["counts"].keys() == set(State)
    assert (told["counts"]["problem"], told["error"]) == (1, None)
    (problem,) = [each for each in told["findings"] if each["state"] == "problem"]
    assert problem.pop("saw").startswith("refused: ")
    assert "--max-logprobs" in problem.pop("advice")
    assert problem == {
        "cascade": "assistant",
        "part": "student",
        "model": "upstream-student",
        "server": f"{url}/v1",
        "subject": "log-probabilities in streams",
        "state": "problem",
    }
    assert told["bill"].keys() == {"questions", "tokens", "cost_usd"}


def test_an_invalid_file_is_no_case_for_the_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("cascades: {}")
    assert doctor(path, fail_on=FailOn.NEVER) == CONFIG_EXIT_CODE
    assert "Not valid" in capsys.readouterr().err
    assert doctor(path, as_json=True) == CONFIG_EXIT_CODE
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["status"]) == (SCHEMA_VERSION, "invalid")
    assert "cascades" in told["error"]


def test_one_cascade_of_several_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = closed_port_url()
    document = cascade_document(url, url)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"one": document, "two": document}}))
    assert doctor(path, cascade="two", as_json=True) == EXIT_CODES[State.AWAY]
    told = json.loads(capsys.readouterr().out)
    assert {each["cascade"] for each in told["findings"]} == {None, "two"}
    assert doctor(path, cascade="three") == CONFIG_EXIT_CODE
    assert "choose from one, two" in capsys.readouterr().err


def test_models_that_clients_ask_by_name_are_looked_at_beside_all_cascades(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], vllm: tuple[str, ScriptedVllm]
) -> None:
    path = configured(tmp_path, vllm[0])
    document = yaml.safe_load(path.read_text())
    away = {"base_url": closed_port_url() + "/v1", "model": "bge", "serves": ["embeddings"]}
    path.write_text(yaml.safe_dump({**document, "models": {"embed": away}}))
    assert doctor(path) == EXIT_CODES[State.AWAY]
    said = capsys.readouterr().out
    assert "Models that clients ask by name" in said
    assert "model, server: nothing listens there" in said
    assert doctor(path, cascade="assistant") == 0


def test_the_file_is_that_of_the_gateway_unless_it_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    vllm: tuple[str, ScriptedVllm],
) -> None:
    assert doctor() == CONFIG_EXIT_CODE
    assert "UNDERSTUDY_CONFIG" in capsys.readouterr().err
    monkeypatch.setenv("UNDERSTUDY_CONFIG", str(configured(tmp_path, vllm[0])))
    assert doctor() == 0
    assert app(["doctor", "--json", "--fail-on", "hint"], result_action="return_value") == 0


def test_settings_that_no_gateway_starts_with_are_a_finding(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    vllm: tuple[str, ScriptedVllm],
) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOST", "0.0.0.0")  # which is what is refused
    assert doctor(configured(tmp_path, vllm[0]), as_json=True) == EXIT_CODES[State.PROBLEM]
    told = json.loads(capsys.readouterr().out)
    (problem,) = [each for each in told["findings"] if each["state"] == "problem"]
    assert (problem["part"], problem["subject"]) == ("gateway", Subject.SETTINGS)
    assert "name a keys file" in problem["advice"]


def test_no_secret_is_in_any_output(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    served: tuple[str, ScriptedVllm],
) -> None:
    """Not even where a server quotes in its refusal what it was sent."""
    url, server = served
    student, teacher, password = SECRETS
    monkeypatch.setenv("STUDENT_KEY", student)
    monkeypatch.setenv("TEACHER_KEY", teacher)
    model = server.model
    answer = model.reply

    def quote(request: Any) -> Reply:
        key = model.headers[-1]["authorization"]
        return Reply({"error": {"message": f"wrong: {key}, {request}"}}, status=400)

    changes: dict[str, Any] = {
        "student": {"api_key_env": "STUDENT_KEY"},
        "teacher": {"api_key_env": "TEACHER_KEY"},
    }
    path = configured(tmp_path, url, **changes)
    port = closed_port_url().rpartition(":")[2]
    places = (f"redis://me:{password}@127.0.0.1:{port}/0", f"{password}://me", None)
    try:
        model.reply = quote
        for place in places:
            for as_json in (False, True):
                assert doctor(path, redis_url=place, as_json=as_json) == EXIT_CODES[State.PROBLEM]
        monkeypatch.setenv("UNDERSTUDY_PORT", password)  # whatever somebody has mixed up
        doctor(path)
    finally:
        model.reply = answer
    out, err = capsys.readouterr()
    assert "wrong: Bearer ***" in out
    for secret in SECRETS:
        assert secret not in out + err


def of_two(folder: Path, student_url: str, teacher_url: str, **changes: Any) -> Path:
    path = folder / "c.yaml"
    document = cascade_document(student_url, teacher_url, **CONTINUE, **changes)
    path.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
    return path


@pytest.mark.full
def test_the_demo_s_own_models_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with real_student() as student_url, serving(create_teacher()) as teacher_url:
        changes: dict[str, Any] = {
            "student": STUDENT | {"extra_body": {"timings_per_token": True}},
            "teacher": {"model": MODEL, "running_usage": True},
        }
        config = of_two(tmp_path, student_url, teacher_url, **changes)
        assert doctor(config) == 0, capsys.readouterr().out
        assert "after '1, 2, 3,' it wrote ' 4, 5" in capsys.readouterr().out
        # Without its timings the real student tells what it used at the end only.
        changes["student"] = STUDENT
        config = of_two(tmp_path, student_url, teacher_url, **changes)
        assert doctor(config) == EXIT_CODES[State.PROBLEM]
        said = capsys.readouterr().out
        assert "1 to mend" in said
        assert "timings_per_token" in said
