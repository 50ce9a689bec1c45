"""Streams recorded from real servers, where this machine has them; tests skip loudly without."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(
    os.environ.get("UNDERSTUDY_TEST_REPLIES", Path(__file__).parents[3] / "shared/vllm-replies")
)
CHAT = "/v1/chat/completions"
missing = pytest.mark.skip(reason=f"no recordings in {RECORDINGS}")


def streams(pattern: str = "*") -> list[Any]:
    """Parameters ``(request body, stream)``: each chat stream of one choice with such a name."""
    found = []
    for meta_path in sorted(RECORDINGS.glob(f"*/{pattern}.meta.json")):
        meta = json.loads(meta_path.read_text())
        request, stem = meta["request"], meta_path.name.removesuffix(".meta.json")
        is_chat = request["path"] == CHAT and isinstance(request["body"], dict)
        if not is_chat or meta["status"] != 200 or not request["body"].get("stream"):
            continue
        (path,) = (
            path
            for path in meta_path.parent.glob(f"{stem}.*")
            if path.name != meta_path.name and not path.is_dir()
        )
        if request["body"].get("n", 1) == 1:
            name = f"{meta_path.parent.name}/{stem}"
            found.append(pytest.param(request["body"], path.read_bytes(), id=name))
    return found or [pytest.param({}, b"", marks=missing)]
