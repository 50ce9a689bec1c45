"""``understudy import litellm``: write a configuration of ours from LiteLLM's."""

import sys
from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.config_file import ConfigError, read_yaml
from understudy.moving.litellm import Moved, Wanted, move

CONFIG_EXIT_CODE = 2
NAMED_BY = "which the command names"


def litellm(
    config: Path,
    *,
    cascade: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    out: Path | None = None,
) -> int:
    """Turn LiteLLM's config.yaml into cascades, and list what was left out.

    Parameters
    ----------
    config
        LiteLLM's file.
    cascade
        NAME=STUDENT,TEACHER: a cascade of two of its models; may be given several times. Without
        it there is one for each of its fallbacks.
    out
        Where to write; standard output without it. A file that is there already stays.
    """
    console = Console(stderr=True)
    try:
        moved = move(read_yaml(config, NAMED_BY), [_wanted(each) for each in cascade])
        if "cascades" not in moved.document:
            raise ConfigError(
                f"{config}: no model of it has a fallback, so nothing says which is a student and "
                "which its teacher: name two with --cascade NAME=STUDENT,TEACHER"
            )
        _write(out, _as_yaml(config, moved))
    except ConfigError as error:
        console.print(Text(str(error), style="bold red"), soft_wrap=True)
        return CONFIG_EXIT_CODE
    except ValueError as error:
        console.print(Text(f"{config}: {error}", style="bold red"), soft_wrap=True)
        return CONFIG_EXIT_CODE
    _tell(console, moved)
    return 0


def _wanted(said: str) -> Wanted:
    name, equals, models = said.partition("=")
    student, comma, teacher = models.partition(",")
    if not (equals and comma and name and student and teacher):
        raise ConfigError(f"--cascade {said}: write NAME=STUDENT,TEACHER")
    return Wanted(name, student, teacher)


def _as_yaml(config: Path, moved: Moved) -> str:
    lines = [f"# From {config.name} of LiteLLM.  `understudy check` says whether it is valid."]
    lines += [f"# To do: {each}" for each in moved.to_do]
    return "\n".join(lines) + "\n" + yaml.safe_dump(moved.document, sort_keys=False)


def _write(out: Path | None, text: str) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        with out.open("x") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None


def _tell(console: Console, moved: Moved) -> None:
    if moved.left:
        table = Table("left out", "why", title="not taken over")
        for one in moved.left:
            table.add_row(Text(one.place), Text(one.why))
        console.print(table)
    for each in moved.to_do:
        console.print(Text(f"To do: {each}."), soft_wrap=True)
