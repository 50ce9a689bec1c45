"""What is measured: which path a request takes through the gateway, and what must come back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import upstream
from bench.load import Target
from bench.replies import text_of

KEY = "bench-3f1b0c9a7d5e"
NEVER = '"top_logprobs"'
MOST_CONCURRENT = 1024  # As many requests as a gateway takes unless it is told otherwise.


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path.  ``student`` is the kind of reply that the upstream gives as the student.

    ``served_by`` names who must have answered, ``outcome`` what the gateway must have counted.
    Both models take ``pause_ms`` for a token.
    """

    name: str
    student: str
    served_by: str
    outcome: str
    pause_ms: int = 0


KEEP = Scenario("keep", upstream.SURE, served_by="student", outcome="kept")
ESCALATE = Scenario("escalate", upstream.UNSURE, served_by="teacher", outcome="escalated")
SCENARIOS = (KEEP, ESCALATE)


def stream_kept(pause_ms: int) -> Scenario:
    """A stream that the student writes from end to end."""
    return Scenario("stream-kept", upstream.SURE, "student", "kept", pause_ms)


def stream_deferred(pause_ms: int) -> Scenario:
    """A stream whose draft is not enough when the window is over: the teacher writes it."""
    return Scenario("stream-deferred", upstream.UNSURE, "teacher", "escalated", pause_ms)


def stream_open(pause_ms: int) -> Scenario:
    """A stream that is kept, slowly enough for very many to be open at once."""
    return Scenario("stream-open", upstream.SURE, "student", "kept", pause_ms)


def write_configuration(folder: Path, scenarios: Sequence[Scenario], upstream_port: int) -> None:
    """Write ``cascades.yaml``, a cascade for each scenario, and ``keys.yaml``."""
    cascades = {each.name: _cascade(each, upstream_port) for each in scenarios}
    (folder / "cascades.yaml").write_text(yaml.safe_dump({"cascades": cascades}))
    entry = {"name": "bench", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [entry]}))


def options(folder: Path, redis_url: str | None) -> list[str]:
    """How ``understudy serve`` is told of that configuration."""
    given = {
        "--config": folder / "cascades.yaml",
        "--keys-file": folder / "keys.yaml",
        "--state-dir": folder / "state",
        **({} if redis_url is None else {"--redis-url": redis_url}),
    }
    return [str(word) for pair in given.items() for word in pair]


def _cascade(scenario: Scenario, port: int) -> dict[str, object]:
    return {
        "student": {
            "base_url": _base_url(port, scenario.student, scenario.pause_ms),
            "model": "static",
            "version": "static-1",
            "price": {"input": 0.02, "output": 0.06},
            "max_concurrent": MOST_CONCURRENT,
        },
        "teacher": {
            "base_url": _base_url(port, upstream.TEACHER, scenario.pause_ms),
            "model": "static",
            "price": {"input": 0.6, "output": 2.4},
            "max_concurrent": MOST_CONCURRENT,
        },
        # Work off the path would be counted into whichever round it falls.
        "audit": {"complete_drafts": 0},
    }


def _base_url(port: int, kind: str, pause_ms: int) -> str:
    return f"http://127.0.0.1:{port}{upstream.base_path(kind, pause_ms)}"


def gateway_target(scenario: Scenario, port: int, *, is_stream: bool = False) -> Target:
    """The scenario's requests to the gateway."""
    return Target(
        port=port,
        path="/v1/chat/completions",
        key=KEY,
        body=_body(scenario.name, is_stream=is_stream),
        text=text_of(scenario.served_by),
        first_token=_first_token(scenario.served_by),
        served_by=scenario.served_by,
        never=NEVER,
    )


def direct_target(port: int, pause_ms: int = 0, *, is_stream: bool = False) -> Target:
    """Requests to the upstream itself, for what the two processes and the kernel take alone."""
    return Target(
        port=port,
        path=f"{upstream.base_path(upstream.SURE, pause_ms)}/chat/completions",
        key=KEY,
        body=_body("static", is_stream=is_stream),
        text=text_of("student"),
        first_token=_first_token("student"),
    )


def _first_token(role: str) -> str:
    """How the first words look in an answer, be it a stream or whole."""
    return f'"content":"{role}'


def _body(model: str, *, is_stream: bool) -> str:
    question = "When will the order that I placed last week arrive, and what do I do if it is late?"
    messages = [
        {"role": "system", "content": "You answer questions about orders."},
        {"role": "user", "content": question},
    ]
    fields: dict[str, object] = {"model": model, "messages": messages, "max_tokens": 64}
    if is_stream:
        fields["stream"] = True
    return json.dumps({**fields, "temperature": 0}, separators=(",", ":"))
