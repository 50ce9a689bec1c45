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


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path.  ``student`` is the kind of reply that the upstream gives as the student.

    ``served_by`` names who must have answered, ``outcome`` what the gateway must have counted.
    """

    name: str
    student: str
    served_by: str
    outcome: str


KEEP = Scenario("keep", upstream.SURE, served_by="student", outcome="kept")
ESCALATE = Scenario("escalate", upstream.UNSURE, served_by="teacher", outcome="escalated")
SCENARIOS = (KEEP, ESCALATE)


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
            "base_url": f"http://127.0.0.1:{port}{upstream.base_path(scenario.student)}",
            "model": "static",
            "version": "static-1",
            "price": {"input": 0.02, "output": 0.06},
        },
        "teacher": {
            "base_url": f"http://127.0.0.1:{port}{upstream.base_path(upstream.TEACHER)}",
            "model": "static",
            "price": {"input": 0.6, "output": 2.4},
        },
    }


def gateway_target(scenario: Scenario, port: int) -> Target:
    """The scenario's requests to the gateway."""
    return Target(
        port=port,
        path="/v1/chat/completions",
        key=KEY,
        body=_body(scenario.name),
        text=text_of(scenario.served_by),
        served_by=scenario.served_by,
        never=NEVER,
    )


def direct_target(port: int) -> Target:
    """Requests to the upstream itself, for what the two processes and the kernel take alone."""
    path = f"{upstream.base_path(upstream.SURE)}/chat/completions"
    return Target(port=port, path=path, key=KEY, body=_body("static"), text=text_of("student"))


def _body(model: str) -> str:
    question = "When will the order that I placed last week arrive, and what do I do if it is late?"
    messages = [
        {"role": "system", "content": "You answer questions about orders."},
        {"role": "user", "content": question},
    ]
    return json.dumps({"model": model, "messages": messages, "max_tokens": 64, "temperature": 0})
