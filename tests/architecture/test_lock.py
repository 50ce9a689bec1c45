"""The lock installs next year what it installs today, from any mirror, without a compiler."""

import re
import tomllib

import pytest

from tests.architecture.source import ROOT

OF_IMAGES = tuple(
    f"requirements/{name}.txt" for name in ("build", "demo", "gateway", "gateway-extras", "jobs")
)
OF_TESTS = ("requirements/tools.txt", "requirements/clients.txt")
OF_BENCH = tuple(f"requirements/peer-{name}.txt" for name in ("litellm", "smg", "vllm-router"))
LOCKS = ("requirements/lock.txt", *OF_TESTS, *OF_BENCH, *OF_IMAGES)
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


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_complete_hashed_and_names_no_place(name: str) -> None:
    assert not faults((ROOT / name).read_text(encoding="utf-8"))


def entries(name: str) -> dict[str, set[str]]:
    """The packages of a lock as they stand there, with their hashes."""
    code = re.sub(r"^\s*#.*$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = (re.split(r"[\s\\]+", entry) for entry in re.split(r"\n(?=\S)", code.strip()))
    return {words[0]: set(words) for words in found}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_install_what_is_tested(name: str) -> None:
    tested, installed = entries("requirements/lock.txt"), entries(name)
    assert installed.keys() <= tested.keys()
    for package, words in installed.items():
        hashes = {word for word in words if word.startswith("--hash")}
        assert hashes
        assert hashes <= tested[package]


def test_the_gateways_image_has_the_core_and_maybe_three_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def named(requirements: list[str]) -> set[str]:
        return {re.match(r"[a-z0-9-]+", one)[0] for one in requirements}  # type: ignore[index]  # each has a name

    def locked(name: str) -> set[str]:
        return {package.partition("==")[0] for package in entries(f"requirements/{name}.txt")}

    core, extras = locked("gateway"), locked("gateway-extras")
    assert named(project["dependencies"]) <= core < extras
    for extra, requirements in project["optional-dependencies"].items():
        is_there = named(requirements) <= extras
        assert is_there == (extra in {"encryption", "redact", "tracing"}), extra


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
