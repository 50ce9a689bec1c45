"""A candidate as files: its policy, its evaluation records, and what was measured of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from distill.evaluation_file import Evaluation, to_bytes
from tests.distill.made_generations import policy
from tests.fakes.upstream import SURE

ANSWER = "Paris."


@dataclass(frozen=True)
class Proposal:
    """Where a candidate's files are."""

    folder: Path
    version: str

    @property
    def options(self) -> Sequence[str]:
        return (
            "--evaluation", str(self.folder),
            "--policy", str(self.folder / "policy.json"),
            "--records", str(self.folder / "records.jsonl"),
        )  # fmt: skip


def propose(folder: Path, version: str, incumbent: str = "student-1", **changes: Any) -> Proposal:
    """Write them.

    Changes are ``policy`` (another document), ``measured`` (other keys of the evaluation's
    candidate), ``serving`` (the same of the incumbent), ``bill`` (its interval's upper end) and
    ``request`` (of the records).
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = changes.pop("policy", policy(version))
    request = changes.pop("request", {"temperature": 0})
    (folder / "policy.json").write_text(json.dumps(document))
    (folder / "records.jsonl").write_text(
        "".join(json.dumps(_record(number, version, request)) + "\n" for number in range(12))
    )
    measured = {
        "version": version,
        "records_sha256": _sha256(folder / "records.jsonl"),
        "policy_sha256": _sha256(folder / "policy.json"),
        "policy_version": _sha256(folder / "policy.json")[:12],
        "generation_policy": None,
        "threshold": document["threshold"],
        "is_fitted_here": False,
    } | changes.pop("measured", {})
    serving = {"version": incumbent} | changes.pop("serving", {})
    found = _evaluation(measured, serving, changes.pop("bill", -0.4))
    assert not changes
    (folder / "evaluation.json").write_bytes(to_bytes(found))
    return Proposal(folder, version)


def _record(number: int, version: str, request: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": f"easy {number}"}]}
    return {
        "id": f"q{number}",
        "request": None if request is None else asked | request,
        "student": {
            "ok": True,
            "text": ANSWER,
            "token_logprobs": [SURE],
            "top_logprobs": [[SURE, SURE - 5]],
            "finish_reason": "stop",
            "version": version,
        },
        "teacher": {"ok": True, "text": ANSWER},
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _evaluation(measured: dict[str, Any], serving: dict[str, Any], bill: float) -> Evaluation:
    def estimate(value: float, spread: float = 0.005) -> dict[str, float]:
        return {"estimate": value, "low": value - spread, "high": value + spread}

    alone = {"quality": 0.9, "ece": 0.02, "auroc": 0.9}
    cascade = {
        "quality": 0.99, "kept_share": 0.8, "escalation_rate": 0.2, "straight_share": 0.0,
        "cost_per_request": 0.001,
    }  # fmt: skip
    other = {
        "records_sha256": "1" * 64, "policy_sha256": None, "policy_version": "uncalibrated",
        "generation_policy": None, "threshold": 0.8,
    }  # fmt: skip
    document = {
        "schema_version": 1,
        "made_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        "confidence": 0.95,
        "rounds": 1000,
        "seed": 1,
        "unit": "usd",
        "records": 1000,
        "questions": 1000,
        "worth": 1000.0,
        "candidate": measured,
        "incumbent": other | {"is_fitted_here": False} | serving,
        "teacher": {"quality": 1.0, "cost_per_request": 0.002, "assumed": 0},
        "groups": {},
        "alone": {"candidate": alone, "incumbent": alone, "difference": estimate(0.0)},
        "cascade": {
            "candidate": cascade,
            "incumbent": cascade,
            "difference": estimate(0.0),
            "bill": {"estimate": bill - 0.1, "low": bill - 0.2, "high": bill},
            "bill_at_equal_quality": {
                "target": 0.99, "candidate": None, "incumbent": None, "bill": None,
            },
        },
        "forgetting": None,
        "notes": [],
    }  # fmt: skip
    return msgspec.convert(document, Evaluation)
