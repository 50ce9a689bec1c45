import json
from pathlib import Path

import pytest
import yaml
from starlette.types import Receive, Scope, Send

from tests.fakes.serving import cascade_document, closed_port_url, serving
from understudy.check import check


class Listing:
    """A server that answers any request with one body."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self._body, self._status = body, status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": self._status, "headers": []})
            await send({"type": "http.response.body", "body": self._body})


def models(*names: str) -> bytes:
    return json.dumps({"data": [{"id": name} for name in names]}).encode()


def config(folder: Path, student_url: str, teacher_url: str) -> Path:
    path = folder / "c.yaml"
    document = {"cascades": {"assistant": cascade_document(student_url, teacher_url)}}
    path.write_text(yaml.safe_dump(document))
    return path


def test_servers_that_have_their_models_are_ok(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = Listing(models("upstream-student", "upstream-teacher"))
    with serving(both) as url:
        assert check(config(tmp_path, url, url), connect=True) == 0
    assert capsys.readouterr().out.count("ok") >= 2


@pytest.mark.parametrize(
    ("body", "status"), [(models("other"), 200), (b"<html>", 200), (b"{}", 200), (b"", 401)]
)
def test_a_server_that_is_not_as_configured_is_reported(
    tmp_path: Path, body: bytes, status: int
) -> None:
    with serving(Listing(body, status)) as url:
        assert check(config(tmp_path, url, url), connect=True) == 1
        assert check(config(tmp_path, url, url)) == 0


def test_a_server_that_is_not_there_is_reported(tmp_path: Path) -> None:
    url = closed_port_url()
    assert check(config(tmp_path, url, url), connect=True) == 1
