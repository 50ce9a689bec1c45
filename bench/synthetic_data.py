"""Questions and pairs of ``--scenario synthetic``: the demo's tasks, asked without examples.

Without them a student cannot copy a form that it has not learnt.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from distill.card import Card, Content, Made, Step, Written
from understudy.demo.families import FAMILIES
from understudy.demo.workload import Task, generate

# Two kinds of task are common and two are rare.
SHARES = {"date": 0.45, "order": 0.45, "number": 0.05, "name": 0.05}
# The pairs that the student of the start learnt from, requests that it was then measured on, and
# held-out questions of each kind of task.
PAIRS, TRAFFIC, TEST = 100, 120, 30
SEED = 7
_MADE_AT = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Question:
    """One task without its examples."""

    task: Task

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is asked."""
        return [dict(self.task.messages[-1])]

    def row(self) -> dict[str, Any]:
        """What its pair teaches: the teacher is right."""
        completion = [{"role": "assistant", "content": self.task.expected}]
        return {"id": self.task.id, "prompt": self.messages, "completion": completion}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Questions that are all different."""

    pairs: Sequence[Question]
    traffic: Sequence[Question]
    untargeted: Sequence[Question]
    test: Sequence[Question]


def draw(rows: int) -> Drawn:
    """What the experiment needs: ``rows`` more pairs, in the proportions of the traffic."""
    counts = [_counts(PAIRS), _counts(TRAFFIC), _counts(rows), dict.fromkeys(SHARES, TEST)]
    needed = max(sum(each[name] for each in counts) for name in SHARES)
    by_family: dict[str, list[Question]] = {name: [] for name in SHARES}
    for task in generate(SEED, needed * len(FAMILIES)):
        if task.family in by_family:
            by_family[task.family].append(Question(task))
    parts = []
    for each in counts:
        parts.append([q for name, count in each.items() for q in by_family[name][:count]])
        for name, count in each.items():
            del by_family[name][:count]
    return Drawn(*parts)


def _counts(total: int) -> dict[str, int]:
    """In the traffic's proportions; the first kind takes what rounding leaves."""
    counts = {name: round(total * share) for name, share in SHARES.items()}
    first = next(iter(counts))
    counts[first] += total - sum(counts.values())
    return counts


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> Written:
    """JSON lines, and what a card says of them."""
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    path.write_bytes(content)
    return Written(path.name, len(lines), len(content), hashlib.sha256(content).hexdigest())


def write_data_set(folder: Path, pairs: Sequence[Question], holdout: Sequence[Question]) -> None:
    """A data set as ``understudy pairs export`` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        write_lines(folder / "sft-train.jsonl", [each.row() for each in pairs]),
        write_lines(folder / "sft-holdout.jsonl", [each.row() for each in holdout]),
    ]
    total = len(pairs) + len(holdout)
    made = Made("sft", [Step("choice", total, {})], files, Content())
    card = Card(
        _MADE_AT, {"workload": "demo", "seed": SEED}, {}, {}, [Step("records", total, {})], [],
        [made],
    )  # fmt: skip
    (folder / "card.json").write_bytes(card.encoded())
    (folder / "card.md").write_text(card.readable())


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """A data set for ``understudy record``."""
    lines = [
        {
            "id": each.task.id,
            "group": each.task.family,
            "answer": each.task.expected,
            "request": {
                "messages": each.messages,
                "max_tokens": each.task.max_tokens,
                "temperature": 0,
            },
        }
        for each in questions
    ]
    write_lines(path, lines)


def labelled(raw: Path, questions: Sequence[Question]) -> Path:
    """Records with the word of each family's checker, to whom layouts of JSON are the same."""
    by_id = {each.task.id: each.task for each in questions}
    lines = []
    for line in raw.read_bytes().splitlines():
        record = json.loads(line)
        student = record["student"]
        student["ok"] = by_id[record["id"]].is_solved_by(student["text"])
        lines.append(record)
    path = raw.with_suffix("").with_suffix(".records.jsonl")
    write_lines(path, lines)
    return path
