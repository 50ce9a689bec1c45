"""``understudy doctor``: ask the real servers of a configuration what the gateway relies on."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.legs import Legs
from gateway.settings import read_secret
from routing.money import total_of, usd
from routing.vocabulary import Role
from understudy.doctor.asking import Question, examine
from understudy.doctor.findings import Finding, State

CONFIG_EXIT_CODE = 2
PROBLEM_EXIT_CODE = 1
_COLOURS = {State.OK: "green", State.HINT: "yellow", State.PROBLEM: "bold red", State.SKIPPED: ""}


def doctor(
    config: Path,
    *,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=3600))] = 30.0,
) -> int:
    """Ask the real servers of a configuration whether they do what the gateway relies on.

    Each model answers two or three short questions, which costs about a hundred tokens.  Ends with
    status 1 where something must be mended, and says what to do.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    timeout
        How many seconds each answer may take.
    """
    try:
        cascades = load_cascades(config, read_secret)
    except ConfigError as error:
        console = Console(stderr=True)
        console.print(Text("Not valid:\n", style="bold red") + Text(str(error)), soft_wrap=True)
        return CONFIG_EXIT_CODE
    problems = asyncio.run(_examine(cascades, timeout, Console()))
    return PROBLEM_EXIT_CODE if problems else 0


async def _examine(cascades: Sequence[LoadedCascade], seconds: float, console: Console) -> int:
    """Ask every cascade's models, one after the other, and show what came; how many problems."""
    legs, problems = Legs(time.monotonic), 0
    for loaded in cascades:
        found = {role: await examine(Question(loaded, role, seconds), legs) for role in Role}
        console.print(_table(loaded, found))
        for role, findings in found.items():
            for finding in findings:
                problems += finding.state is State.PROBLEM
                if finding.advice:
                    head = Text(f"{role}, {finding.subject}: ", style=_COLOURS[finding.state])
                    console.print(head + Text(finding.advice, style="default"), soft_wrap=True)
    console.print(_bill(legs), highlight=False)
    if problems:
        console.print(f"[bold red]{problems} to mend.")
    else:
        console.print("[green]Nothing must be mended.")
    return problems


def _table(loaded: LoadedCascade, found: Mapping[Role, Sequence[Finding]]) -> Table:
    table = Table("", title=escape(loaded.name), title_justify="left")
    for heading in ("", "state", "seen"):
        table.add_column(heading, overflow="fold")  # names and addresses are to be copied whole
    config = loaded.config
    for role, findings in found.items():
        model = config.student if role is Role.STUDENT else config.teacher
        table.add_row(f"[bold]{role}", escape(model.model), "", escape(model.base_url))
        for finding in findings:
            state = Text(finding.state, style=_COLOURS[finding.state])
            table.add_row("", finding.subject, state, Text(finding.saw))
        table.add_section()
    return table


def _bill(legs: Legs) -> str:
    """What the questions took."""
    tokens = sum(leg.usage.input + leg.usage.output for leg in legs.made if leg.usage)
    cost = total_of([leg.cost_pico for leg in legs.made])
    price = "at an unknown cost" if cost is None else f"for {usd(cost)} USD"
    return f"{len(legs.made)} questions took {tokens} tokens, {price}."
