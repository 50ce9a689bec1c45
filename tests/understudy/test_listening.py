import argparse
import subprocess
import sys

import pytest

from understudy.demo.listening import add_options, chosen_host


def host_of(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return chosen_host(parser, parser.parse_args(["--port", "8000", *arguments]))


def test_without_a_word_a_server_listens_on_loopback() -> None:
    assert host_of() == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
def test_any_name_of_loopback_will_do(host: str) -> None:
    assert host_of("--host", host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "student", ""])
def test_an_address_that_others_reach_has_to_be_allowed(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        host_of("--host", host)
    assert "say --insecure" in capsys.readouterr().err
    assert host_of("--host", host, "--insecure") == host


def test_the_first_process_of_a_container_follows_nobody() -> None:
    program = (
        "import threading; from understudy.demo.lifeline import follow_parent; follow_parent(); "
        "print(threading.active_count())"
    )
    apart = ["unshare", "--map-root-user", "--pid", "--fork"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no process namespace can be made here")
    for command, threads in ((apart, "1"), ([], "2")):
        ran = subprocess.run(
            [*command, sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == threads
