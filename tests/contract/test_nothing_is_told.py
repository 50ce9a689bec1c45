"""Canaries in all that clients and models say: none is in a log line or a span."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.collector import Collector, new_context
from tests.fakes.script import ROLE, BreakOff, Words, whole
from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion
from tests.wire_server.process import gateway_process

CANARY = "CANARY"
CHAT = "/v1/chat/completions"
KEY, UPSTREAM_KEY = f"{CANARY}-client-key", f"{CANARY}-upstream-key"
SCHEMA = {"type": "object", "properties": {f"{CANARY}-property": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": f"{CANARY}_tool", "description": CANARY, "parameters": SCHEMA},
}
QUESTION: dict[str, Any] = {
    "model": "assistant",
    "messages": [
        {"role": "system", "content": f"{CANARY} system"},
        {"role": "user", "content": f"{CANARY} prompt"},
    ],
    "user": f"{CANARY}-user",
    "metadata": {CANARY: CANARY},
    f"{CANARY}_field": CANARY,
}
HEADERS = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "cookie": CANARY,
    "user-agent": CANARY,
    "x-custom": CANARY,
    "tracestate": f"{CANARY}=1,,not-a-member",
    "baggage": f"user={CANARY}",
}
WORDS = [f"{CANARY}{number} " for number in range(20)]
REFUSAL = {"error": {"message": f"cannot read {CANARY}", "param": CANARY, "code": CANARY}}
REPLIES = {
    "kept": Reply(completion(f"{CANARY} answer")),
    "unsure": Reply(completion(f"{CANARY} draft", UNSURE)),
    "streamed": Reply(steps=whole(WORDS)),
    "broken off": Reply(steps=[ROLE, Words(WORDS), BreakOff()]),
    "refused": Reply(REFUSAL, status=400),
    "failed": Reply(f"{CANARY} is not well".encode(), status=500),
    "no completion": Reply(f"{CANARY} is no JSON".encode()),
    "odd end": Reply(completion(CANARY, choice={"finish_reason": "odd"})),
}


def ask_in_every_way(client: httpx.Client, student: ScriptedModel) -> int:
    """Send the canaries so that all of the gateway sees them; how many chat completions."""
    asked = 0
    schema = {"type": "json_schema", "json_schema": {"name": CANARY, "schema": SCHEMA}}
    ways: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"tools": [TOOL]},
        {"response_format": schema},
        {"model": f"{CANARY}-model"},
        {"messages": f"{CANARY} is no list"},
        {"temperature": CANARY},
        {"api_base": f"http://{CANARY}"},
    ]
    for reply in REPLIES.values():
        student.reply = reply
        for way in ways:
            context = {"traceparent": new_context()[0]}
            client.post(CHAT, json=QUESTION | way, headers=context)
            asked += 1
    client.post(CHAT, content=f"{{{CANARY} is no JSON".encode())
    client.get(f"/v1/{CANARY}?q={CANARY}")
    return asked + 1


@pytest.fixture
def models() -> tuple[ScriptedModel, ScriptedModel]:
    return ScriptedModel(), ScriptedModel(Reply(completion(f"{CANARY} taught")))


def test_no_canary_is_in_a_log_line_or_a_span(
    tmp_path: Path, models: tuple[ScriptedModel, ScriptedModel]
) -> None:
    student, teacher = models
    collector = Collector()
    changes = {
        "student": {"api_key_env": "STUDENT_KEY"},
        "streaming": {"handover": "restart"},
        "audit": {"complete_drafts": 1},
    }
    with (
        serving(student) as student_url,
        serving(teacher) as teacher_url,
        serving(collector) as collector_url,
    ):
        environment = {
            "UNDERSTUDY_TRACING": "true",
            "UNDERSTUDY_LOG_LEVEL": "debug",
            "STUDENT_KEY": UPSTREAM_KEY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-{CANARY}={CANARY}, {CANARY} is malformed",
        }
        with gateway_process(tmp_path, student_url, teacher_url, changes, **environment) as gateway:
            client = httpx.Client(
                base_url=gateway.url, headers=HEADERS, timeout=20, trust_env=False
            )
            with client:
                asked = ask_in_every_way(client, student)
            assert student.headers[0]["authorization"] == f"Bearer {UPSTREAM_KEY}"
            gateway.process.terminate()
            assert gateway.process.wait(15) == 0
            lines = gateway.log()
        wait_until(lambda: collector.spans)
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == asked
    assert {line["outcome"] for line in requests} >= {"kept", "escalated", "rejected"}
    assert not [line for line in lines if line["event"] == "bug"]
    assert not [line for line in lines if CANARY.lower() in json.dumps(line).lower()]
    assert len([span for span in collector.spans if span.kind == "server"]) == len(requests)
    assert not [body for body in collector.bodies if CANARY.lower().encode() in body.lower()]
    spans = {span.name for span in collector.spans}
    assert spans == {"POST /v1/chat/completions", "plan", "draft", "grant", "teacher"}
