"""Replies and streams recorded from real servers; tests skip loudly where there are none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(
    os.environ.get("UNDERSTUDY_TEST_REPLIES", Path(__file__).parents[3] / "shared/vllm-replies")
)
FOLDERS = ("vllm-0.32.0", "vllm-0.32.0-tools", "xllamacpp")
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


def wholes(*, is_success: bool) -> list[Any]:
    """Parameters ``(request body, path of the reply, status)``: whole chat completions."""
    found = []
    for folder in FOLDERS:
        for meta_path in sorted((RECORDINGS / folder).glob("*.meta.json")):
            meta = json.loads(meta_path.read_text())
            body_path = meta_path.with_name(meta_path.name.replace(".meta.json", ".json"))
            request = meta["request"]
            is_plain_chat = request["path"] == CHAT and isinstance(request["body"], dict)
            if not (is_plain_chat and body_path.exists()) or request["body"].get("stream"):
                continue
            if (meta["status"] == 200) is is_success:
                name = f"{folder}/{body_path.stem}"
                found.append(pytest.param(request["body"], body_path, meta["status"], id=name))
    return found or [pytest.param({}, Path(), 0, marks=missing)]


def models(folder: str) -> list[str]:
    """The names that a recorded server lists; none where there is no recording."""
    path = RECORDINGS / folder / "models.json"
    if not path.exists():
        return []
    return [model["id"] for model in json.loads(path.read_text())["data"]]
