"""The rules of deploy/prometheus, one by one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
_NAME = re.compile(r"\b\w+:\w+(?::\w+)?")
# A comparison with a number that is the same whatever happens.
_NUMBER = r"\d[\d.]*(?![\d.])"
_BAR = re.compile(rf"(?:==|!=|>=|<=|>|<)\s*-?{_NUMBER}(?:\s*\*\s*{_NUMBER})*(?!\s*\*)")


@dataclass(frozen=True)
class Rule:
    """One rule.  Alerts of one name are told apart by their severity."""

    name: str
    expr: str
    is_alert: bool
    severity: str | None = None

    @property
    def place(self) -> str:
        """What it is called in the registry of expectations."""
        return f"{self.name} ({self.severity})" if self.is_alert else self.name

    @property
    def unbarred(self) -> str:
        """The number that an alert looks at, whether or not it is high enough."""
        return _BAR.sub("", self.expr)

    @property
    def recorded(self) -> frozenset[str]:
        """The names of recorded series that it reads."""
        return frozenset(_NAME.findall(self.expr))


def rule_files(folder: Path = FOLDER) -> list[Path]:
    """Files with rules; another one shows how to load them, and in a folder are their tests."""
    return [path for path in sorted(folder.glob("*.yaml")) if "groups" in _read(path)]


def rules(files: Sequence[Path]) -> Iterator[Rule]:
    """Every rule, in the order of the files."""
    for path in files:
        for group in _read(path)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    severity = rule["labels"]["severity"]
                    yield Rule(rule["alert"], rule["expr"], True, severity)
                else:
                    yield Rule(rule["record"], rule["expr"], False)


def in_order(recording: Sequence[Rule]) -> Iterator[list[Rule]]:
    """Recording rules in steps: each reads only what those before it have recorded."""
    known: set[str] = set()
    waiting = list(recording)
    names = {rule.name for rule in recording}
    while waiting:
        step = [rule for rule in waiting if rule.recorded & names <= known]
        assert step, f"these read each other: {[rule.name for rule in waiting]}"
        yield step
        known |= {rule.name for rule in step}
        waiting = [rule for rule in waiting if rule not in step]


def hurried(files: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of the files whose groups are evaluated four times a second."""
    copies = []
    for path in files:
        document = _read(path)
        for group in document["groups"]:
            group["interval"] = "250ms"
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(document, sort_keys=False))
        copies.append(copy)
    return copies


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document
