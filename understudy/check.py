"""``understudy check``: validate a configuration without asking anybody."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cascades import LoadedCascade, doubts_about, load_cascades
from gateway.config_file import ConfigError
from gateway.settings import read_secret

CONFIG_EXIT_CODE = 2


def check(config: Path) -> int:
    """Validate a configuration: the file, the policies and the keys that it names.

    ``understudy doctor`` asks the servers too.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    """
    try:
        cascades = load_cascades(config, read_secret)
    except ConfigError as error:
        console = Console(stderr=True)
        console.print(Text("Not valid:\n", style="bold red") + Text(str(error)), soft_wrap=True)
        return CONFIG_EXIT_CODE
    console = Console()
    for cascade in cascades:
        table = _table(cascade)
        for role, model in (
            ("student", cascade.config.student),
            ("teacher", cascade.config.teacher),
        ):
            price = "unknown" if model.price is None else model.price.words()
            table.add_row(role, *map(escape, (model.model, model.base_url, price)))
        console.print(table)
        console.print(_comparison(cascade), highlight=False, soft_wrap=True)
        if cascade.config.budget is not None:
            budget = cascade.config.budget.usd_per_month
            console.print(f"Budget: {budget} USD a month; nothing is refused for it.")
        if not cascade.policy.is_calibrated:
            console.print("[yellow]No policy: the default rule orders drafts, uncalibrated.")
        for doubt in doubts_about(cascade):
            console.print(Text(f"{cascade.name}: {doubt}.", style="yellow"), soft_wrap=True)
    console.print(f"[green]{escape(str(config))} is valid.")
    return 0


def _table(cascade: LoadedCascade) -> Table:
    policy = cascade.policy
    title = f"{cascade.name}: policy {policy.version}, keeps from {policy.threshold.value:g}"
    table = Table("role", title=title)
    for heading in ("model", "server", "price"):
        table.add_column(heading, overflow="fold")  # names and addresses are to be copied whole
    return table


def _comparison(cascade: LoadedCascade) -> Text:
    """What decides whether two answers are the same, and where nobody said."""
    config = cascade.config
    made = config.comparator.comparator()
    text = Text(f"Compares answers by {made.version}, the same from {made.at_least:g}.")
    if "comparator" not in config.model_fields_set:
        text.append(" Nobody chose that: it suits short answers alone.", style="yellow")
    if config.samples > 1:
        text.append(
            f"\nAsks for {config.samples} drafts of an answer, of which one speaks for most."
        )
    return text
