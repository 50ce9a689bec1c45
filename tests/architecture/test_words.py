"""Names that hide what a file is for, and words that have no place in what we ship.

The patterns are written so that they do not match themselves: this file is checked like any other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.architecture.source import ROOT, project_files

NAMELESS = frozenset({"common.py", "core.py", "helpers.py", "manager.py", "utils.py"})

# Texts of others, word for word, and what a tool writes.
NOT_OURS = frozenset({"LICENSE", "requirements/lock.txt"})


@dataclass(frozen=True)
class Banned:
    """A pattern no line may match, and what to do instead."""

    pattern: re.Pattern[str]
    reason: str


WORDS = (
    Banned(
        re.compile(r"\b(?:TO[D]O|FI[X]ME|X[X]X|HA[C]K)\b"),
        "do it, or say in the tracker what is missing",
    ),
    Banned(
        re.compile(r"\b(?:phas[e]|mileston[e]|sprin[t]) \d", re.IGNORECASE),
        "say what the thing does; when it came is git's to tell",
    ),
    Banned(
        re.compile("[\U0001f300-\U0001faff\u2705\u274c\u26a0\ufe0f]"),
        "no emoji: words can be searched for and read aloud",
    ),
    Banned(
        re.compile(r"\b(?:mast[e]r/slave|whit[e]list|black[l]ist)", re.IGNORECASE),
        "say allow-list, deny-list, or what the two really are to each other",
    ),
    Banned(
        re.compile(
            r"\bC[E]O\b|\b(?:AI|coding|agent)[ -]sessi[o]ns?\b|\bsession's machi[n]e\b"
            r"|\bwork[p]lace\b|/w[o]rk/(?:main|shared)\b|\.\./shar[e]d\b"
        ),
        "the project speaks of itself: who writes it, and where, is no part of it",
    ),
)


def nameless(path: str) -> Iterator[str]:
    name = PurePosixPath(path).name
    if name in NAMELESS:
        yield f"{path}: a file named {name} takes everything in; name what it decides or owns"


def banned_words(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for banned in WORDS:
            if found := banned.pattern.search(line):
                yield f"{path}:{number} says {found[0]!r}: {banned.reason}"


def text_of(path: str) -> str | None:
    """The file's text, or None if it is gone or not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def test_every_file_is_named_for_something() -> None:
    found = [fault for path in project_files() for fault in nameless(path)]
    assert not found, "\n".join(found)


def test_no_file_says_a_banned_word() -> None:
    found = [
        fault
        for path in project_files()
        if path not in NOT_OURS and (text := text_of(path)) is not None
        for fault in banned_words(path, text)
    ]
    assert not found, "\n".join(found)


def test_the_files_looked_at_are_the_projects() -> None:
    files = project_files()
    assert "pyproject.toml" in files
    assert "tests/architecture/test_words.py" in files
    assert not [path for path in files if path.startswith((".venv/", ".git/"))]


@pytest.mark.parametrize("name", sorted(NAMELESS))
def test_nameless_file_is_found(name: str) -> None:
    assert list(nameless(f"gateway/api/{name}"))
    assert not list(nameless(f"gateway/api/not_{name}"))


# Joined here, so that this file does not say them.
@pytest.mark.parametrize(
    "line",
    [
        "# TO" + "DO later",
        "# FIX" + "ME",
        "# X" + "XX",
        "Phas" + "e 1 of the work",
        "done \N{PARTY POPPER}",
        "\N{WHITE HEAVY CHECK MARK} works",
        "a white" + "list of hosts",
        "as the C" + "EO wants",
        "an AI sess" + "ion wrote this",
        "cd /wo" + "rk/main",
        "see .." + "/shared/DESIGN.md",
    ],
)
def test_banned_word_is_found(line: str) -> None:
    (fault,) = banned_words("README.md", f"first line\n{line}\n")
    assert fault.startswith("README.md:2 says ")


@pytest.mark.parametrize(
    "line",
    [
        "sk-XXXX",
        "the phase of a signal",
        "a hackathon",
        "× – − ✓",
        "a shared session",
        "the method",
    ],
)
def test_ordinary_word_passes(line: str) -> None:
    assert not list(banned_words("README.md", line))
