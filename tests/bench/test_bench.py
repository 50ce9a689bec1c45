"""One small run of the bench: what it prints, and that wrong replies fail it. Nothing is timed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import processes, upstream
from bench.__main__ import main
from bench.large import large_bodies
from bench.load import Job, stream_text
from bench.machine import Machine
from bench.measure import Found, Report
from bench.processes import ROOT, load_generator
from bench.replies import text_of
from bench.scenarios import ESCALATE, KEEP, Scenario, direct_target
from bench.stand import p99
from bench.upstream import request_end, static_replies
from bench.verdict import at_most
from gateway.settings import Settings
from gateway.wire.bounds import Bounds, refuse_crowd
from gateway.wire.chat import parse_chat

REQUESTS = 50
SHORT = ["--requests", "20"]


@pytest.mark.full
@pytest.mark.parametrize("scenario", [KEEP.name, ESCALATE.name])
def test_a_path_of_ours_alone_is_reported_at_every_concurrency(
    scenario: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--scenario", scenario, "--requests", str(REQUESTS), "--concurrency", "1", "4"]
    status = main([*arguments, "--json", "--out", str(out)])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    report = json.loads(printed.out)
    assert report == json.loads(out.read_text())
    assert str(out) in printed.err.replace("\n", "")
    lines = report["found"]["measurements"]
    assert [(each["scenario"], each["concurrency"]) for each in lines] == [
        (scenario, 1),
        (scenario, 4),
    ]
    assert {each["requests"] for each in lines} == {REQUESTS}
    assert all(each["gateway_cpu_us_per_request"] > 0 for each in lines)
    assert all(each["latency_ms_p99"] >= each["latency_ms_median"] > 0 for each in lines)
    assert report["versions"]["understudy"]
    assert report["machine"]["cores"] >= 1


@pytest.mark.full
def test_streams_of_every_path_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--scenario", "stream", "--streams", "5", "--pause-ms", "1", "--open-streams", "8"]
    assert main([*arguments, "--concurrency", "1", "4", "--json"]) == 0
    check_streams(json.loads(capsys.readouterr().out)["found"]["streams"])


def check_streams(report: Any) -> None:
    assert (report["tokens"], report["pause_ms"]) == (64, 1)
    lines = report["measurements"]
    assert [(each["path"], each["concurrency"]) for each in lines] == [
        (path, concurrency)
        for concurrency in (1, 4)
        for path in ("direct", "kept", "kept, buffered", "deferred", "deferred, buffered")
    ]
    assert all(each["first_token_ms_p99"] >= each["first_token_ms_median"] for each in lines)
    for path, least_ms, is_first_with_last in [
        ("direct", 1, False),
        ("kept", 16, False),
        ("kept, buffered", 64, True),
        ("deferred", 17, False),
        ("deferred, buffered", 128, True),
    ]:
        for line in (each for each in lines if each["path"] == path):
            first, whole = line["first_token_ms_median"], line["whole_ms_median"]
            assert first > least_ms - 2  # the upstream counts whole milliseconds
            assert (first == whole) is is_first_with_last
            assert (line["gateway_cpu_us_per_token"] is None) is (path == "direct")
    weighed = report["open_streams"]
    assert weighed["streams"] == 8
    assert weighed["resident_mib_open"] > 0


@pytest.mark.full
def test_streams_can_be_measured_alone(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--scenario", "stream", "--streams", "1", "--concurrency", "2", "--pause-ms", "1"]
    assert main([*arguments, "--open-streams", "4"]) == 0
    printed = capsys.readouterr().out
    assert "deferred, buffered" in printed
    assert "4 open streams:" in printed
    assert "escalate" not in printed


@pytest.mark.full
def test_stalls_can_be_measured_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.STALL_SECONDS", 4.0)
    assert main(["--scenario", "stalls", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["found"]["sides"] is None
    stalls = report["found"]["stalls"]
    assert stalls["requests"] > 100
    assert set(stalls["large"]) == {"prose", "code", "many messages", "many tools"}
    assert stalls["scrapes"] >= 4
    assert stalls["series"] > 1000
    for what in ("lag", "computing"):
        line = stalls[what]
        assert line["looks"] > 4.0 / 0.02 / 4
        assert list(line["over_ms"].values()) == sorted(line["over_ms"].values(), reverse=True)


def test_a_missed_target_fails_a_run_only_where_it_is_strict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [at_most("this", 1.0, 2.0, "ms"), at_most("that", 3.0, 2.0, "ms")]
    machine = Machine("Linux", "6.1", "x86_64", "a processor", 2, "/usr/bin/python3")
    made = Report("2026-11-28", 1.0, machine, True, False, {}, Found(), limits)
    monkeypatch.setattr("bench.__main__.measure", lambda plan, progress: made)
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"this +1 ms +2 ms +met", printed)
    assert re.search(r"that +3 ms +2 ms +missed", printed)
    assert main(["--strict"]) == 3
    del limits[1]
    assert main(["--strict"]) == 0


def test_large_requests_are_a_megabyte_and_within_limits() -> None:
    fields = Settings.model_fields
    limits = [fields[name].default for name in ("max_body_members", "max_body_entries")]
    for body in large_bodies("a-cascade").values():
        sent = body.encode()
        assert 800_000 < len(sent) < upstream.LARGEST_REQUEST
        refuse_crowd(sent, *limits)
        Bounds().check(parse_chat(sent).size, 1)


@pytest.mark.full
def test_an_outage_of_the_store_is_measured_and_loses_no_pair(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--scenario", "outage", "--requests", "40", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    lines = report["measurements"]
    assert [each["state"] for each in lines] == ["up", "away", "hung"]
    assert {each["requests"] for each in lines} == {40}
    assert all(len(each["median_ms_rounds"]) == 1 for each in lines)
    assert report["pairs"] == 3 * 40 + 200  # and those of the warm-up


@pytest.mark.full
def test_a_promise_is_measured_beside_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "steered", "--requests", "400", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    lines = [(each["side"], each["concurrency"]) for each in report["lines"]]
    assert lines == [("unsteered", 1), ("steered", 1), ("unsteered", 32), ("steered", 32)]
    assert {each["requests"] for each in report["lines"]} == {400}
    assert all(each["latency_ms_p99"] >= each["latency_ms_median"] > 0 for each in report["lines"])
    assert report["earned_after"] >= 300
    assert 5 <= report["audits"] <= 60  # 2% of 1,300


def test_limit_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    # Few requests may take less than a tick of the system's clock of processor time.
    arguments = [*SHORT, "--requests", "200", "--concurrency", "1", "--scenario", "keep"]
    arguments.append("--at-most-us")
    assert main([*arguments, "0.001"]) == 1
    printed = capsys.readouterr()
    assert re.search(r"keep at 1 costs \d", printed.err)
    assert "keep" in printed.out


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (Scenario("keep", upstream.WRONG, "student", "kept"), "lacks the expected text"),
        (Scenario("keep", "nothing", "student", "kept"), "was served by 'teacher'"),
        (Scenario("keep", upstream.SURE, "student", "degraded"), "counts 0 requests as degraded"),
    ],
)
def test_wrong_replies_are_no_measurement(
    wrong: Scenario, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SHORT, "--scenario", "keep", "--concurrency", "2"], known=[wrong]) == 1
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--requests", "0"],
        ["--concurrency", "1", "1025"],
        ["--streams", "0"],
        ["--pause-ms", "0"],
        ["--open-streams", "1025"],
        ["--scenario", "stream", "--at-most-us", "1"],
        ["--scenario", "outage", "--at-most-us", "1"],
        ["--scenario", "export", "--at-most-us", "1"],
        ["--scenario", "steered", "--at-most-us", "1"],
    ],
)
def test_numbers_out_of_range_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2


def test_a_draft_has_64_tokens_with_two_candidates_each() -> None:
    reply = static_replies()[b"sure"].whole
    completion = json.loads(reply.partition(b"\r\n\r\n")[2])
    tokens = completion["choices"][0]["logprobs"]["content"]
    assert len(tokens) == completion["usage"]["completion_tokens"] == 64
    assert {len(token["top_logprobs"]) for token in tokens} == {2}
    text = "".join(token["token"] for token in tokens[:-1])
    assert text == completion["choices"][0]["message"]["content"]
    assert 11_000 < len(reply) < 13_000


@pytest.mark.parametrize(("kind", "role"), [(b"sure", "student"), (b"teacher", "teacher")])
def test_a_stream_is_the_same_answer_with_a_piece_for_each_token(kind: bytes, role: str) -> None:
    reply = static_replies()[kind]
    assert len(reply.pieces) == 64
    stream = (reply.head + b"".join(reply.pieces)).partition(b"\r\n\r\n")[2]
    assert stream_text(stream) == text_of(role)
    assert stream.count(b'"top_logprobs"') == (64 if role == "student" else 0)
    assert stream.rstrip().endswith(b"0")


@pytest.mark.parametrize("cut", [b"", b"5\r\ndata:", b"0\r\n\r\n", b"8\r\ndata: {}\r\n0\r\n\r\n"])
def test_a_stream_without_its_end_is_no_text(cut: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        stream_text(cut)


def test_a_stream_with_other_words_is_a_wrong_reply() -> None:
    with processes.upstream(None) as port, load_generator(None) as load:
        target = direct_target(port, 1, is_stream=True)
        right = load.run(Job(target, 1, 2))
        wrong = load.run(Job(replace(target, text="student b a"), 1, 2))
    assert right.fault is None
    assert max(right.first_token_ms) < min(right.latencies_ms)
    assert min(right.latencies_ms) > 64 - 2
    assert "lacks the expected text" in (wrong.fault or "")


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 40),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{", 0),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n", 0),
        (b"GET / HTTP/1.1\r\n\r\nGET", 18),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 59),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 0),
    ],
)
def test_the_upstream_knows_where_a_request_ends(data: bytes, end: int) -> None:
    assert request_end(data) == end


def test_p99_is_the_nearest_rank() -> None:
    assert p99([5.0]) == 5.0
    assert p99([float(value) for value in range(1, 101)]) == 99.0
    assert p99([float(value) for value in range(1, 201)]) == 198.0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing_behind(ending: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--scenario", "keep"]
    command += ["--requests", "1000000", "--concurrency", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        started = wait_children(psutil.Process(process.pid), 3)
        process.send_signal(ending)
        assert process.wait(30) == 130
    gone, alive = psutil.wait_procs(started, timeout=10)
    assert len(gone) == 3
    assert not alive
    assert not list(tmp_path.iterdir())


def wait_children(process: psutil.Process, count: int) -> list[psutil.Process]:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        children = process.children(recursive=True)
        if len(children) >= count:
            return children
        time.sleep(0.02)
    raise AssertionError(f"{count} processes did not start")


@pytest.mark.full
@pytest.mark.timeout(120)
def test_the_export_of_a_few_pairs_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = main(["--scenario", "export", "--pairs", "700", "--work-dir", str(tmp_path), "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    times = json.loads(printed.out)
    assert times["pairs"] == 700
    assert 2000 < times["mean_bytes"] < 4500
    assert 550 < times["rows"] < 700  # a tenth of the prompts was there before
    for half in ("drain", "consolidate"):
        assert times[f"{half}_pairs_per_second"] > 0
        assert times[f"{half}_peak_mib"] > 50
    assert list(tmp_path.iterdir()) == []
