"""A name service that answers nothing, as in a cluster whose DNS is cut off."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.fakes.serving import cascade_document, serving
from tests.fakes.upstream import Reply, ScriptedModel
from tests.wire_server.process import process_serving

ADDRESS = "127.53.53.53"  # nobody else's
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
# For which an end with a journal to flush to a store that is away is known to take no longer.
SECONDS_TO_END = 8


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[list[str]]:
    """A command in whose files all names but those of /etc/hosts are asked of a deaf server."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, for a name service of its own")
    mine = tmp_path / "resolv.conf"
    mine.write_text(f"nameserver {ADDRESS}\noptions timeout:30 attempts:5\n")
    mount = f'mount --bind {mine} /etc/resolv.conf && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        pytest.skip("cannot have a mount namespace here")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as deaf:
        deaf.bind((ADDRESS, 53))
        yield within


@pytest.mark.full
def test_a_store_whose_name_nobody_answers_for_holds_up_neither_models_nor_the_end(
    tmp_path: Path, silent: list[str]
) -> None:
    with serving(ScriptedModel(Reply())) as url:
        named = url.replace("127.0.0.1", "localhost")
        document = {"cascades": {"assistant": cascade_document(named, named)}}
        store = "redis://store.example:6379/0"
        with process_serving(tmp_path, document, silent, UNDERSTUDY_REDIS_URL=store) as gateway:
            gateway.wait_for_line("registry_away")
            answer = httpx.post(
                gateway.url + "/v1/chat/completions", json=QUESTION, timeout=30, trust_env=False
            )
            assert answer.status_code == 200, answer.text
            began = time.monotonic()
            gateway.process.terminate()
            assert gateway.process.wait(60) == 0
            assert time.monotonic() - began < SECONDS_TO_END
