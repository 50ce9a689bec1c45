"""The lock installs next year what it installs today, from any mirror, without a compiler."""

import re

import pytest

from tests.architecture.source import ROOT

LOCK = "requirements/lock.txt"
COMPILES_OR_DEPENDS_ON_THE_MACHINE = ("llama-cpp-python", "llm", "torch", "transformers", "vllm")


def faults(lock: str) -> list[str]:
    """What is wrong with a lock, a sentence each."""
    code = [line for line in lock.splitlines() if not line.lstrip().startswith("#")]
    found = [f"names a place: {line}" for line in code if re.search(r"://|file:|^\s*[-./]\w", line)]
    for entry in re.split(r"\n(?=\S)", "\n".join(code)):
        pinned = re.match(r"([a-z0-9-]+)==\S", entry)
        if not pinned:
            found.append(f"is not pinned: {entry}")
            continue
        if "--hash=sha256:" not in entry:
            found.append(f"has no hash: {pinned[1]}")
        if pinned[1] in COMPILES_OR_DEPENDS_ON_THE_MACHINE:
            found.append(f"has no place in the lock: {pinned[1]}")
    return found


def test_the_lock_is_complete_hashed_and_names_no_place() -> None:
    assert not faults((ROOT / LOCK).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "lock",
    [
        "rich==15.0.0",
        "rich>=15 \\\n    --hash=sha256:0",
        "torch==2.13.0 \\\n    --hash=sha256:0",
        "--index-url https://example.org/simple\nrich==15.0.0 \\\n    --hash=sha256:0",
        "rich @ file:///tmp/rich.whl",
    ],
)
def test_bad_lock_is_found(lock: str) -> None:
    assert faults(lock)
