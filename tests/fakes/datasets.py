"""Data sets as `understudy pairs export` leaves them: rows of the demo's tasks, and a card."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from distill.card import Card, Content, Made, Step, Written
from distill.dataset import Example, read_examples
from understudy.demo.workload import Task, generate

Row = Mapping[str, Any]


def row(id: str, question: str, answer: str = "Yes.", **changes: Any) -> dict[str, Any]:
    """A row of SFT with a prompt of one message."""
    return {
        "id": id,
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    } | changes


def preference(of: Row, rejected: str = "No.") -> dict[str, Any]:
    """The row of preferences of a row of SFT."""
    told = {name: value for name, value in of.items() if name != "completion"}
    draft = [{"role": "assistant", "content": rejected}]
    return told | {"chosen": of["completion"], "rejected": draft}


def task_row(task: Task) -> dict[str, Any]:
    """What the teacher's answer to a task of the demo teaches."""
    return row(task.id, "", task.expected, prompt=list(task.messages))


def task_rows(seed: int, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """So many rows of each of the demo's kinds of task."""
    wanted, rows = dict(counts), []
    for task in generate(seed, 8 * max(counts.values())):
        if wanted.get(task.family):
            wanted[task.family] -= 1
            rows.append(task_row(task))
    return rows


def example(told: Row) -> Example:
    """A row, read back."""
    (read,) = read_examples([msgspec.json.encode(told)], "rows")
    return read


def examples(rows: Iterable[Row]) -> list[Example]:
    """Rows, read back."""
    return [example(each) for each in rows]


def write_data_set(
    folder: Path,
    train: Sequence[Row],
    holdout: Sequence[Row] = (),
    *,
    dpo: Sequence[Row] = (),
) -> Path:
    """A folder with rows of SFT, and of preferences where there are some."""
    folder.mkdir(parents=True, exist_ok=True)
    formats = [_made(folder, "sft", train, holdout)]
    if dpo:
        formats.append(_made(folder, "dpo", dpo, ()))
    card = Card(
        made_at="2026-11-27T12:00:00+00:00",
        source={"parts": 1},
        options={"holdout": 0.1},
        versions={"understudy": "0"},
        steps=[Step("records", len(train) + len(holdout), {})],
        without_consent=[],
        formats=formats,
    )
    (folder / "card.json").write_bytes(card.encoded())
    return folder


def _made(folder: Path, form: str, train: Sequence[Row], holdout: Sequence[Row]) -> Made:
    files = []
    for side, rows in (("train", train), ("holdout", holdout)):
        if rows:
            content = b"".join(msgspec.json.encode(each) + b"\n" for each in rows)
            path = folder / f"{form}-{side}.jsonl"
            path.write_bytes(content)
            digest = sha256(content).hexdigest()
            files.append(Written(path.name, len(rows), len(content), digest))
    steps = [Step("choice", len(train) + len(holdout), {})]
    return Made(form, steps, files, Content())


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where there is no file."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
