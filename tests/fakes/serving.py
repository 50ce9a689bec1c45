"""Real sockets on loopback, and a gateway between scripted models."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import Gateway, build_gateway, create_app
from gateway.cascades import load_cascades
from gateway.key_entries import load_keys
from gateway.legs import Model
from gateway.named_models import load_models
from gateway.settings import Settings
from gateway.telemetry.telling import TURNS
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool
from tests.fakes.journals import all_records
from tests.fakes.turns import turns
from tests.fakes.upstream import ScriptedModel

STUDENT_PRICE = {"input": 0.02, "output": 0.06}
TEACHER_PRICE = {"input": 0.60, "output": 2.40}
# For clients of servers without TLS: it trusts nobody, and so has no authorities to read, which
# takes 20 ms of a processor for each client.
PLAIN_HTTP = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def told_first(app: ASGIApp) -> ASGIApp:
    """The same, but for an answer's end, which leaves when nothing more is to be done for it.

    A test looks at what was told of a request as soon as it has the answer, from another thread.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        ends: list[Message] = []

        async def sent(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body")
            if is_end:
                ends.append(message)
            else:
                await send(message)

        await app(scope, receive, sent)
        await turns(TURNS + 1)  # by then it is told what the request came to
        for message in ends:
            await send(message)

    return wrapped


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def serving(
    app: Any, running: list[uvicorn.Server] | None = None, certificate: Path | None = None
) -> Iterator[str]:
    """Serve an ASGI application on a free port, in a thread; gives its address.

    With a ``certificate``, whose key lies beside it, over TLS.
    The server joins ``running``, so that several can be told to stop before any is waited for.
    """
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
        ssl_keyfile=certificate and certificate.with_suffix(".key"),
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert server.started
    if running is not None:
        running.append(server)
    try:
        scheme = "https" if certificate else "http"
        yield f"{scheme}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def wait_until(
    is_true: Callable[[], object], seconds: float = 10.0, pause_seconds: float = 0.01
) -> None:
    """Poll until something holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause_seconds)


def free_port() -> int:
    """A port that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def closed_port_url() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def cascade_document(student_url: str, teacher_url: str, **changes: Any) -> dict[str, Any]:
    """A cascade's configuration; ``student`` and ``teacher`` change single keys of theirs."""
    student = {
        "base_url": student_url + "/v1",
        "model": "upstream-student",
        "version": "student-1",
        "price": STUDENT_PRICE,
    }
    teacher = {
        "base_url": teacher_url + "/v1",
        "model": "upstream-teacher",
        "price": TEACHER_PRICE,
        "outputs_may_train": True,
    }
    return {
        "student": student | changes.pop("student", {}),
        "teacher": teacher | changes.pop("teacher", {}),
        "objective": {"kind": "confidence", "at_least": 0.8},
    } | changes


def load_gateway(
    folder: Path,
    cascade: dict[str, Any],
    settings: dict[str, Any] | None = None,
    others: Mapping[str, dict[str, Any]] | None = None,
    models: Mapping[str, dict[str, Any]] | None = None,
) -> Gateway:
    """A gateway with a cascade, ``assistant``, others, and ``models``, built as `understudy serve`
    does."""
    path = folder / "cascades.yaml"
    document = {"cascades": {"assistant": cascade, **(others or {})}, "models": dict(models or {})}
    path.write_text(yaml.safe_dump(document))
    values = {"config": path, "state_dir": folder / "state", "log_level": "error"}
    loaded = Settings.model_validate(values | (settings or {}))
    cascades = load_cascades(path, {"TEACHER_KEY": "teacher-secret"}.get)
    keys = load_keys(loaded.keys_file, is_in_redis=loaded.keys_in_redis)
    named = load_models(path, {"MODEL_KEY": "model-secret"}.get)
    return build_gateway(loaded, cascades, keys, named)


def server_of(model: Model) -> OpenAIModel:
    """The gateway's end of a model's only server."""
    assert isinstance(model.chat, ServerPool)
    (server,) = model.chat.servers
    return server


@dataclass
class Stage:
    """A served gateway, its two scripted models and a client."""

    client: httpx.Client
    url: str
    gateway: Gateway
    folder: Path
    student: ScriptedModel
    teacher: ScriptedModel
    question: dict[str, Any] = field(
        default_factory=lambda: {
            "model": "assistant",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
    )

    def ask(self, **changes: Any) -> httpx.Response:
        """Post the question, with changes."""
        return self.client.post("/v1/chat/completions", json=self.question | changes)

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 where there is none yet."""
        value = self.gateway.context.observer.metrics.registry.get_sample_value(name, labels)
        return value or 0.0

    def pairs(self) -> list[bytes]:
        """What stands in the journal, as lines of JSON."""
        return [
            b'{"cascade":"%s","pair":%s}' % (frame.cascade.encode(), frame.record)
            for frame in all_records(self.folder / "state")
        ]


@contextlib.contextmanager
def stage(
    folder: Path,
    *,
    cascade: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    others: Mapping[str, dict[str, Any]] | None = None,
    models: Mapping[str, dict[str, Any]] | None = None,
    student_url: str | None = None,
    teacher_url: str | None = None,
) -> Iterator[Stage]:
    """Serve two scripted models and a gateway between them, all on real sockets.

    ``others`` are further cascades of the same two models, by name, each with its own changes;
    ``models`` are named ones, at the teacher's server unless they say where.
    """
    student, teacher = ScriptedModel(), ScriptedModel()
    running: list[uvicorn.Server] = []
    with contextlib.ExitStack() as stack:
        student_url = student_url or stack.enter_context(serving(student, running))
        teacher_url = teacher_url or stack.enter_context(serving(teacher, running))
        document = cascade_document(student_url, teacher_url, **(cascade or {}))
        further = {
            name: cascade_document(student_url, teacher_url, **changes)
            for name, changes in (others or {}).items()
        }
        named = {
            name: {"base_url": teacher_url + "/v1", "model": f"upstream-{name}", **config}
            for name, config in (models or {}).items()
        }
        gateway = load_gateway(folder, document, settings, further, named)
        url = stack.enter_context(serving(told_first(create_app(gateway)), running))
        client = stack.enter_context(
            httpx.Client(base_url=url, timeout=20, trust_env=False, verify=PLAIN_HTTP)
        )
        try:
            yield Stage(client, url, gateway, folder, student, teacher)
        finally:
            client.close()
            for server in running:
                server.should_exit = True
