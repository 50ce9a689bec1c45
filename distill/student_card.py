"""The card of a trained student: what it learnt from, how, how well, and how to serve it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.folder import Folder
from distill.task import Task

CARD_VERSION = 1
_VLLM_RANK = 16  # vLLM's own limit, where nobody raises it


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training."""

    version: str
    options: Mapping[str, Any]
    counts: Mapping[str, Any]
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    made_at: str


def card_of(trained: Trained, task: Task) -> dict[str, Any]:
    """The card as JSON has it; how to serve the student is told when all is written."""
    lineage, lessons = task.lineage, task.lessons
    files = [
        {"name": each.name, "rows": each.rows, "sha256": each.sha256} for each in lessons.files
    ]
    return {
        "card_version": CARD_VERSION,
        "version": trained.version,
        "name": lineage.name,
        "generation": lineage.generation,
        "parent": lineage.parent,
        "base": str(task.source.base),
        "made_at": trained.made_at,
        "data": {
            "files": files,
            "sha256": lessons.sha256,
            "holdout_rows": len(lessons.holdout),
        },
        "counts": dict(trained.counts),
        "options": dict(trained.options),
        "metrics": dict(trained.metrics),
        "serve": {},
        "versions": dict(trained.versions),
    }


def serving(card: Mapping[str, Any], folder: Folder) -> dict[str, str]:
    """Command lines that serve what is in the folder, by server."""
    version, told = card["version"], {}
    if folder.adapter.is_dir():
        model = folder.base if folder.base.is_dir() else card["base"]
        rank = card["options"].get("rank") or 0
        larger = f" --max-lora-rank {rank}" if rank > _VLLM_RANK else ""
        told["vllm"] = (
            f"vllm serve {model} --enable-lora{larger} --lora-modules {version}={folder.adapter}"
        )
        told["vllm at run time"] = (
            f"curl http://HOST:PORT/v1/load_lora_adapter -H 'content-type: application/json' -d "
            f"""'{{"lora_name": "{version}", "lora_path": "{folder.adapter}"}}'"""
        )
    elif folder.merged.is_dir():
        told["vllm"] = f"vllm serve {folder.merged} --served-model-name {version}"
    if folder.gguf.is_file():
        told["llama.cpp"] = f"llama-server -m {folder.gguf} --alias {version} --jinja"
    return told


def encoded(card: Mapping[str, Any]) -> bytes:
    """The card, for a file."""
    return msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n"


def readable(card: Mapping[str, Any]) -> str:
    """The same, for people."""
    parent = f", after {card['parent']}" if card["parent"] else ""
    lines = [
        f"# {card['version']}",
        "",
        f"Generation {card['generation']}{parent}, made {card['made_at']}.",
        f"Base: `{card['base']}`.",
        "",
        "## How to serve it",
        "",
        "Its policy is fitted for this version, and a gateway refuses one made for another:",
        f"`understudy calibrate --student-version {card['version']}`.",
        "",
    ]
    for server, command in card["serve"].items():
        lines += [f"With {server}:", "", "```sh", command, "```", ""]
    lines += ["## What it learnt from", "", "| file | rows | sha256 |", "| --- | --- | --- |"]
    for file in card["data"]["files"]:
        lines.append(f"| {_cell(file['name'])} | {file['rows']:,} | `{file['sha256']}` |")
    lines.append("")
    for title in ("counts", "metrics", "options", "versions"):
        lines += [f"## {title.capitalize()}", "", "| | |", "| --- | --- |"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in card[title].items()]
        lines.append("")
    return "\n".join(lines)


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.6g}"
        case None:
            return "none"
        case dict():
            return (
                ", ".join(f"{_cell(name)} {_cell(each)}" for name, each in value.items()) or "none"
            )
        case _:
            return " ".join(str(value).replace("|", "/").split())
