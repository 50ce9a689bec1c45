"""What is measured: which path a request takes through the gateway, and what must come back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from bench import upstream
from bench.load import Target
from bench.processes import MOST_OPEN
from bench.replies import LONG_TOKENS, TOKENS, text_of
from routing import Checkpoint, Origin, policy_document, uncalibrated_default
from routing.policy_file import Basis
from routing.policy_file import Target as Promise

KEY = "bench-3f1b0c9a7d5e"
NEVER = '"top_logprobs"'
VERSION = "static-1"
HOLD_TOKENS = 16
MOST_CONCURRENT = MOST_OPEN // 2


@dataclass(frozen=True, slots=True)
class Scenario:
    """One path.  ``student`` is the kind of reply that the upstream gives as the student.

    ``served_by`` names who must have answered, ``outcome`` what the gateway must have counted.
    Both models take ``pause_ms`` for a token, of which the student's streams have ``tokens``;
    ``hold_tokens`` of them are held back.
    """

    name: str
    student: str
    served_by: str
    outcome: str
    pause_ms: int = 0
    tokens: int = TOKENS
    hold_tokens: int = HOLD_TOKENS


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


def stream_of(name: str, tokens: int, hold_tokens: int, pause_ms: int) -> Scenario:
    """A stream of so many tokens, either as many as all have or ``LONG_TOKENS``, that is kept."""
    kind = {TOKENS: upstream.SURE, LONG_TOKENS: upstream.LONG}[tokens]
    return Scenario(name, kind, "student", "kept", pause_ms, tokens, hold_tokens)


def write_configuration(folder: Path, scenarios: Sequence[Scenario], upstream_port: int) -> None:
    """Write ``cascades.yaml``, a cascade for each scenario, ``keys.yaml``, and policies."""
    cascades = {each.name: _cascade(each, upstream_port) for each in scenarios}
    for each in scenarios:
        if each.hold_tokens != HOLD_TOKENS:
            cascades[each.name]["policy"] = policy = f"{each.name}.json"
            (folder / policy).write_text(json.dumps(_policy(each)))
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
            "version": VERSION,
            "price": {"input": 0.02, "output": 0.06},
            "max_concurrent": MOST_OPEN,
        },
        "teacher": {
            "base_url": _base_url(port, upstream.TEACHER, scenario.pause_ms),
            "model": "static",
            "price": {"input": 0.6, "output": 2.4},
            "max_concurrent": MOST_OPEN,
        },
        "streaming": {"hold_tokens": scenario.hold_tokens},
        # Work off the path would be counted into whichever round it falls.
        "audit": {"complete_drafts": 0},
    }


def _policy(scenario: Scenario) -> dict[str, object]:
    """The default policy, but for a window of its own."""
    default = uncalibrated_default()
    streamed = default.streamed
    others = [each for each in streamed.checkpoints if each.tokens < scenario.hold_tokens]
    checkpoints = (*others, Checkpoint(scenario.hold_tokens, streamed.end))
    basis = Basis(Promise("none", 0.0, 0.0), None, 1)  # a file has to say something of that
    return policy_document(
        replace(default, streamed=replace(streamed, checkpoints=checkpoints, is_calibrated=True)),
        Origin(scenario.name, VERSION, basis, "2026-01-01", "0" * 64, streamed=basis),
    )


def _base_url(port: int, kind: str, pause_ms: int) -> str:
    return f"http://127.0.0.1:{port}{upstream.base_path(kind, pause_ms)}"


def gateway_target(scenario: Scenario, port: int, *, is_stream: bool = False) -> Target:
    """The scenario's requests to the gateway."""
    return Target(
        port=port,
        path="/v1/chat/completions",
        key=KEY,
        body=_body(scenario.name, is_stream=is_stream),
        text=text_of(scenario.served_by, scenario.tokens if is_stream else TOKENS),
        first_token=_first_token(scenario.served_by),
        served_by=scenario.served_by,
        never=NEVER,
    )


def direct_target(port: int, pause_ms: int = 0, *, is_stream: bool = False) -> Target:
    """Requests to the upstream itself, for what the two processes and the kernel take alone."""
    path = f"{upstream.base_path(upstream.SURE, pause_ms)}/chat/completions"
    return passing_target(port, path, KEY, is_stream=is_stream)


def relayed_target(scenario: Scenario, port: int) -> Target:
    """The scenario's streams from what passes everything on, paths too."""
    path = f"{upstream.base_path(scenario.student, scenario.pause_ms)}/chat/completions"
    passed = passing_target(port, path, KEY, is_stream=True)
    return replace(passed, text=text_of("student", scenario.tokens))


def passing_target(port: int, path: str, key: str, *, is_stream: bool = False) -> Target:
    """Requests to what gives the student's answer as it is."""
    return Target(
        port=port,
        path=path,
        key=key,
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
