"""Replies and streams recorded from real servers; tests skip loudly where there are none."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(
    os.environ.get("UNDERSTUDY_TEST_REPLIES", Path(__file__).parents[3] / "shared/vllm-replies")
)
FOLDERS = ("vllm-0.32.0", "vllm-0.32.0-tools", "xllamacpp")
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
missing = pytest.mark.skip(reason=f"no recordings in {RECORDINGS}")


@dataclass(frozen=True)
class Recording:
    """One reply of a real server: ``path`` and ``request`` were asked, ``body`` came.

    ``raw`` is what was sent in place of a request that is one.
    """

    name: str
    path: str
    request: Mapping[str, Any]
    status: int
    body: bytes
    raw: str | None = None

    def of(self, model: str) -> "Recording":
        """The same asked of another model."""
        return replace(self, request={**self.request, "model": model})

    @property
    def is_stream(self) -> bool:
        """Whether the client wanted one."""
        return bool(self.request.get("stream"))

    @property
    def said(self) -> Any:
        """What came, decoded."""
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came as a stream, decoded, without its end."""
        lines = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        assert lines.pop() == "[DONE]"
        return [json.loads(line) for line in lines]


def recordings(is_wanted: Callable[[Recording], bool]) -> list[Any]:
    """Parameters: every recorded reply to a request with a body that is wanted."""
    found = [pytest.param(each, id=each.name) for each in _all_recordings() if is_wanted(each)]
    return found or [pytest.param(None, marks=missing)]


@cache
def _all_recordings() -> Sequence[Recording]:
    return tuple(_read_recordings())


def _read_recordings() -> Iterator[Recording]:
    for folder in FOLDERS:
        for meta_path in sorted((RECORDINGS / folder).glob("*.meta.json")):
            meta = json.loads(meta_path.read_text())
            request = meta["request"]
            if request["body"] or request["raw"]:
                stem = meta_path.name.removesuffix(".meta.json")
                (body,) = (
                    path.read_bytes()
                    for path in meta_path.parent.glob(f"{stem}.*")
                    if path != meta_path and not path.is_dir()
                )
                where = f"{folder}/{stem}"
                asked = request["body"] or {}
                yield Recording(where, request["path"], asked, meta["status"], body, request["raw"])


def streams(pattern: str = "*") -> list[Any]:
    """Parameters ``(request body, stream)``: each chat stream of one choice with such a name."""
    found = [
        pytest.param(each.request, each.body, id=each.name)
        for each in _all_recordings()
        if each.path == CHAT
        and (each.is_stream and each.status == 200 and each.request.get("n", 1) == 1)
        and fnmatch(each.name.rpartition("/")[2], pattern)
    ]
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
