"""States of a cascade's generations, as `understudy distill promote` writes them."""

import json
from collections.abc import Mapping
from typing import Any

POLICY: Mapping[str, Any] = {
    "schema_version": 2,
    "cascade": "assistant",
    "student_version": "",
    "sampling": None,
    "rule": {
        "score": {"signals": ["mean_probability"], "weights": [1.0], "intercept": 0.0},
        "calibration": {"kind": "logistic", "slope": 10.0, "intercept": -5.0},
    },
    "threshold": 0.7,
    "target": {"kind": "disagreement", "value": 0.05, "with_probability": 0.95},
    "bound": 0.049,
    "n": 1200,
    "date": "2026-11-20",
    "data_sha256": "0" * 64,
}
# Long after any test.
LATER = 4_000_000_000.0


def generation(number: int, url: str, **policy: Any) -> dict[str, Any]:
    """The student ``student-g<number>`` at a server, with a policy of its own."""
    version = f"student-g{number}"
    return {
        "number": number,
        "version": version,
        "base_url": f"{url}/v1",
        "model": f"model-g{number}",
        "policy": {**POLICY, "student_version": version, "n": 1000 + number, **policy},
    }


def rollout(candidate: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A candidate that all sessions get, unless said."""
    told = {"id": "r-1", "candidate": candidate, "stage": "canary", "share": 1.0}
    return {**told, "holdout": 0.0, "until": LATER, **changes}


def state(
    revision: int,
    incumbent: Mapping[str, Any] | None = None,
    tried: Mapping[str, Any] | None = None,
    **last: Any,
) -> bytes:
    """The document of a state."""
    step = {"action": "promoted", "version": "student-g1", "at": 1.0, "who": "ann", "why": "well"}
    return json.dumps(
        {
            "schema_version": 1,
            "revision": revision,
            "incumbent": incumbent,
            "previous": None,
            "rollout": tried,
            "last": {**step, **last},
        }
    ).encode()
