"""``understudy distill train``: make the next student of pairs, on this machine or many."""

import json
import os
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from distill.folder import Folder
from distill.lessons import read_lessons
from distill.lineage import lineage_of
from distill.progress import Nobody
from distill.recipe import CannotTrain
from distill.task import Source, Task, checked
from understudy.distill.learning import Learning
from understudy.distill.showing import watcher
from understudy.telling import CommandError, perform

# Read by the libraries when they are imported: nothing is fetched, and nobody is told.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # their bars; the command has its own
}


def train(
    *,
    data: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())],
    base: Path,
    out: Path,
    parent: Path | None = None,
    generation: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    name: str | None = None,
    learning: Learning | None = None,
    merge: Annotated[bool, Parameter(negative=())] = False,
    gguf: Annotated[bool, Parameter(negative=())] = False,
    gguf_template: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Train a student on pairs: an adapter (LoRA) or all weights, on a CPU or on GPUs.

    Killed, it goes on by the same command from its last checkpoint.  On several GPUs or machines:
    torchrun --nproc-per-node 8 -m understudy distill train … (or accelerate launch).

    Parameters
    ----------
    data
        Folders of pairs export or consolidate (sft-train.jsonl, sft-holdout.jsonl,
        dpo-train.jsonl), or single JSONL files of TRL's conversational form.
    base
        The model to train: a Hugging Face folder, or a GGUF file.  Nothing is downloaded.
    out
        The folder for the student: adapter, weights, card, log.
    parent
        The adapter of the generation before, to go on from.
    generation
        Which generation this is; without it one more than the parent's, or 1.
    name
        The name that its version begins with; without it the base's.
    merge
        Write base and adapter as one model, too.
    gguf
        Write it as GGUF (Q8_0) for llama.cpp, too.
    gguf_template
        The base as GGUF, where --base is a folder: tokenizer and settings are taken from it.
    as_json
        Print the card as JSON.
    """
    is_first = os.environ.get("RANK", "0") == "0"

    def work() -> int:
        try:
            recipe = (learning or Learning()).recipe()
            template = _template(base, gguf_template, must_write=gguf)
            source = checked(Source(base, parent, template), recipe)
            task = Task(
                source=source,
                lessons=read_lessons(data, has_preferences=recipe.preference is not None),
                recipe=recipe,
                lineage=lineage_of(base, parent, name=name, generation=generation),
                folder=Folder(out.resolve()),
                must_merge=merge,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            card = _made(task, is_first=is_first)
        except CannotTrain as error:
            raise CommandError(str(error)) from error
        if is_first:
            _show(card, task.folder, as_json=as_json)
        return 0

    return perform("train", work)


def _template(base: Path, template: Path | None, *, must_write: bool) -> Path | None:
    if not must_write:
        if template is not None:
            raise CommandError("--gguf-template: say --gguf too")
        return None
    if template is None and base.suffix != ".gguf":
        raise CommandError(
            "--gguf takes tokenizer and settings from the base as GGUF: name it by "
            "--gguf-template, or run llama.cpp's convert_hf_to_gguf.py on merged/ (--merge)"
        )
    return template or base


def _made(task: Task, *, is_first: bool) -> dict[str, Any]:
    console = Console(stderr=True)
    if is_first:
        task.folder.take(task.identity())
    card = task.folder.card()
    if card is not None and not task.missing():
        if is_first:
            console.print(f"{task.folder.root} is finished already.", highlight=False)
        return card
    os.environ.update(_OFFLINE)
    warnings.simplefilter("ignore")  # of the libraries to their own developers
    from distill.training import run  # takes seconds, and needs the extra

    if not is_first:
        return run.train(task, Nobody())
    with watcher(console) as watching:
        return run.train(task, watching)


def _show(card: dict[str, Any], folder: Folder, *, as_json: bool) -> None:
    if as_json:
        json.dump(card, sys.stdout)
        print()
        return
    console = Console()
    metrics = card["metrics"]
    measured = metrics["holdout_loss"]
    lines = [
        f"{card['version']} is in {folder.root}",
        f"{metrics['steps']:,} steps in {metrics['seconds']:,.0f} s, loss {metrics['loss']:.4f}"
        + ("" if measured is None else f", holdout loss {measured:.4f}")
        + (", stopped early" if metrics["stopped_early"] else ""),
        *(f"{server}: {command}" for server, command in card["serve"].items()),
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
