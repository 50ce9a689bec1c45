"""Made records of the pair log, of both schema versions."""

import json
from typing import Any

NOON = 1_790_000_000.0
DAY = 86_400.0


def completion(content: str | None, **changes: Any) -> dict[str, Any]:
    """A chat completion; ``finish_reason`` and fields of the message may be changed."""
    finish = changes.pop("finish_reason", "stop")
    message = {"role": "assistant", "content": content} | changes
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(NOON),
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }


def calling(name: str, arguments: str, id: str = "call_1") -> dict[str, Any]:
    """One call of a function, as a message has it."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A function that a request offers."""
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def request(*messages: Any, **changes: Any) -> dict[str, Any]:
    """A request; a text is a user's message."""
    told = [{"role": "user", "content": each} if isinstance(each, str) else each
            for each in messages]  # fmt: skip
    return {"model": "assistant", "messages": told} | changes


def pair(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of version 2.  ``request``, ``answer`` and ``draft`` change its content."""
    content = {
        "request": changes.pop("request", request(f"What is {number} + 1?")),
        "draft": changes.pop("draft", completion(f"{number}")),
        "answer": changes.pop("answer", completion(f"It is {number + 1}.")),
        "released": changes.pop("released", None),
    }
    record = {
        "schema_version": 2,
        "id": f"{number:032x}",
        "completes": None,
        "time": NOON + number,
        "cascade": "assistant",
        "tenant": None,
        "request_id": f"req-{number}",
        "is_stream": False,
        "served_by": "teacher",
        "reason": "low_confidence",
        "group": None,
        "confidence": 0.41,
        "merit": 0.4,
        "signals": {"min_margin": 0.1},
        "propensity": 1.0,
        "samples": 1,
        "student_version": "student-1",
        "teacher_model": "teacher",
        "teacher_version": "teacher-1",
        "policy_version": "uncalibrated",
        "consent": {"tenant_may_train": True, "teacher_outputs_may_train": True},
        "legs": [
            {
                "role": "student",
                "input_tokens": 12,
                "cached_input_tokens": 0,
                "output_tokens": 3,
                "reasoning_tokens": 0,
                "cost_usd": "0.0000012",
                "seconds": 0.2,
                "error": None,
                "estimated": False,
            }
        ],
        "draft_complete": True,
        "splice": None,
        "redactor": None,
        "dropped": None,
        "content": content,
        "sealed": None,
    }
    return record | changes


def pair_of_version_one(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A record as gateways before version 2 wrote it."""
    record = pair(number)
    content = record.pop("content")
    for name in ("is_stream", "teacher_version", "consent", "redactor", "dropped", "sealed"):
        del record[name]
    older = {
        "schema_version": 1,
        "may_train": True,
        "request": content["request"],
        "draft": content["draft"],
        "answer": content["answer"],
    }
    return record | older | changes


def encoded(record: dict[str, Any]) -> bytes:
    """A record as it stands in the stream."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def audit(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of an audit, which found that the two agree."""
    told = {
        "kind": "audit",
        "known": "audited",
        "served_by": "student",
        "reason": "confident",
        "degraded": None,
        "epoch": None,
        "propensity": 0.02,
        "known_with": 0.02,
        "least": 0.02,
        "score": 1.0,
        "loss": 0,
        "comparator": "normalised-1",
        "at_least": 1.0,
    }
    return pair(number, **(told | changes))
