"""One small run of the bench: what it prints, and that wrong replies fail it. Nothing is timed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench import upstream
from bench.__main__ import main
from bench.measure import p99
from bench.processes import ROOT
from bench.scenarios import ESCALATE, KEEP, Scenario
from bench.upstream import request_end, static_replies

REQUESTS = 50


def test_small_run_reports_every_path_at_every_concurrency(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "bench.json"
    status = main(
        ["--requests", str(REQUESTS), "--concurrency", "1", "4", "--json", "--out", str(out)]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    report = json.loads(printed.out)
    assert report == json.loads(out.read_text())
    assert str(out) in printed.err.replace("\n", "")
    lines = report["measurements"]
    assert [(each["scenario"], each["concurrency"]) for each in lines] == [
        (KEEP.name, 1),
        (KEEP.name, 4),
        (ESCALATE.name, 1),
        (ESCALATE.name, 4),
    ]
    assert {each["requests"] for each in lines} == {REQUESTS}
    assert all(each["gateway_cpu_us_per_request"] > 0 for each in lines)
    assert all(each["latency_ms_p99"] >= each["latency_ms_median"] > 0 for each in lines)
    assert report["versions"]["understudy"]
    assert report["cpu_count"] >= 1


def test_limit_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--requests", "20", "--concurrency", "1", "--scenario", "keep", "--at-most-us"]
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
    assert main(["--requests", "20", "--concurrency", "2"], known=[wrong]) == 1
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [["--requests", "0"], ["--concurrency", "1", "513"]])
def test_numbers_out_of_range_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2


def test_a_draft_has_64_tokens_with_two_candidates_each() -> None:
    reply = static_replies()[b"/sure/v1/chat/completions"]
    completion = json.loads(reply.partition(b"\r\n\r\n")[2])
    tokens = completion["choices"][0]["logprobs"]["content"]
    assert len(tokens) == completion["usage"]["completion_tokens"] == 64
    assert {len(token["top_logprobs"]) for token in tokens} == {2}
    text = "".join(token["token"] for token in tokens[:-1])
    assert text == completion["choices"][0]["message"]["content"]
    assert 11_000 < len(reply) < 13_000


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
    command = [sys.executable, "-m", "bench", "--requests", "1000000", "--concurrency", "1"]
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
