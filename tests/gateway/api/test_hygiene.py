"""Nothing of a client's head goes on to a model server, and no path of its choosing is asked."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.fakes.serving import Stage, stage

# What the gateway itself says to a model server, and nothing else.
OURS = {"host", "accept-encoding", "content-type", "content-length"}
SHOWN = {"x-understudy-served-by": "teacher", "x-understudy-cost-usd": "0", "server": "evil"}
SENT = SHOWN | {
    "authorization": "Bearer of-the-client",
    "x-api-key": "of-the-client",
    "cookie": "of=the-client",
    "connection": "keep-alive, x-hop",
    "keep-alive": "timeout=9",
    "x-hop": "1",
    "proxy-authorization": "Basic eA==",
    "te": "trailers",
    "trailer": "x-late",
    "forwarded": "for=1.2.3.4",
    "x-forwarded-for": "1.2.3.4",
    "x-forwarded-host": "evil.example",
    "x-http-method-override": "DELETE",
    "x-original-url": "/admin",
    "x-request-id": "of-the-client",
    "x-data-parallel-rank": "3",
    "openai-organization": "org-1",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("hygiene")) as built:
        yield built


def test_no_header_of_a_client_reaches_a_model_server(scene: Stage) -> None:
    answer = scene.client.post("/v1/chat/completions", json=scene.question, headers=SENT)
    assert answer.status_code == 200
    assert scene.student.headers[-1].keys() == OURS
    assert scene.student.headers[-1]["host"] != urlsplit(scene.url).netloc
    assert answer.headers["x-understudy-served-by"] == "student"
    assert answer.headers.get_list("x-understudy-served-by") == ["student"]
    assert answer.headers["server"] != "evil"
    assert not {"x-hop", "keep-alive", "x-late", "trailer"} & answer.headers.keys()


def sent_raw(scene: Stage, head: bytes, body: bytes) -> tuple[int, bytes]:
    """Status and body for a request whose bytes no client would tidy up."""
    where = urlsplit(scene.url)
    with socket.create_connection((where.hostname, where.port or 0), timeout=5) as connection:
        connection.sendall(head + b"host: x\r\nconnection: close\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../v1/chat/completions",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions/../embeddings",
        "/v1/chat/completions;x",
        "/v1/chat/completions%00",
        "/v1/chat/completions%2f..%2fmodels",
        "/v1/chat/./completions",
        "/V1/chat/completions",
        "/v1/chat/completions%3fx",
        "/v1/load_lora_adapter",
        "/shutdown",
        "/v1/chat\\completions",
    ],
)
def test_a_path_that_is_not_ours_is_asked_of_nobody(scene: Stage, path: str) -> None:
    asked = len(scene.student.requests)
    body = json.dumps(scene.question).encode()
    head = f"POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n"
    status, said = sent_raw(scene, head.encode(), body)
    assert status in (400, 404)
    assert len(scene.student.requests) == asked
    assert status == 400 or json.loads(said)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "target", ["/v1%2Fchat%2fcompletions?x=/../", "http://evil.example/v1/chat/completions"]
)
def test_however_our_path_is_written_the_model_servers_own_is_asked(
    scene: Stage, target: str
) -> None:
    body = json.dumps(scene.question).encode()
    head = f"POST {target} HTTP/1.1\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n"
    status, _ = sent_raw(scene, head.encode(), body)
    assert status == 200
    assert scene.student.paths[-1] == b"/v1/chat/completions"


def test_a_body_in_a_coding_that_nobody_undoes_is_refused(scene: Stage) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
    coded = head + b"transfer-encoding: gzip, chunked\r\n"
    body = json.dumps(scene.question).encode()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    status, said = sent_raw(scene, coded, chunks)
    assert status == 415
    assert json.loads(said)["error"]["code"] == "unsupported_media_type"
    status, _ = sent_raw(scene, head + b"transfer-encoding: Chunked\r\n", chunks)
    assert status == 200
