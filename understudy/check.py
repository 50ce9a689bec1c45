"""``understudy check``: validate a configuration without asking anybody."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, assert_never

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cascades import LoadedCascade, doubts_about, load_cascades
from gateway.config_file import ConfigError
from gateway.key_entries import doubts_about_keys, load_keys
from gateway.named_models import LoadedModel, load_models
from gateway.settings import read_secret
from gateway.steering.config import QualityConfig, RateConfig, SpendConfig, SteeredConfig

CONFIG_EXIT_CODE = 2


def check(
    config: Path,
    *,
    keys_file: Annotated[Path | None, Parameter(env_var="UNDERSTUDY_KEYS_FILE")] = None,
) -> int:
    """Validate a configuration: the file, the policies and the keys that it names, the keys file.

    ``understudy doctor`` asks the servers too.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    keys_file
        YAML file with the clients' keys.
    """
    try:
        cascades = load_cascades(config, read_secret)
        tenants = load_keys(keys_file).tenants.values()
        models = load_models(config, read_secret)
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
            table.add_row(role, *map(escape, (model.model, "\n".join(model.base_urls), price)))
        console.print(table)
        console.print(_comparison(cascade), highlight=False, soft_wrap=True)
        if isinstance(cascade.config.objective, RateConfig | SpendConfig | QualityConfig):
            console.print(Text(_held_to(cascade.config.objective)), soft_wrap=True)
        if cascade.config.budget is not None:
            budget = cascade.config.budget.usd_per_month
            console.print(f"Budget: {budget} USD a month; nothing is refused for it.")
        if not cascade.policy.is_calibrated:
            console.print("[yellow]No policy: the default rule orders drafts, uncalibrated.")
        for doubt in doubts_about(cascade):
            console.print(Text(f"{cascade.name}: {doubt}.", style="yellow"), soft_wrap=True)
    names = [*(one.name for one in cascades), *(one.name for one in models)]
    for doubt in doubts_about_keys(tenants, names, time.time()):
        console.print(Text(f"{keys_file}: {doubt}.", style="yellow"), soft_wrap=True)
    if keys_file is not None:
        style = "" if tenants else "yellow"
        console.print(Text(f"Keys in {keys_file}: {len(tenants)}.", style=style), soft_wrap=True)
    if models:
        console.print(_named(models))
    console.print(f"[green]{escape(str(config))} is valid.")
    return 0


def _table(cascade: LoadedCascade) -> Table:
    policy = cascade.policy
    title = f"{cascade.name}: policy {policy.version}, keeps from {policy.threshold.value:g}"
    table = Table("role", title=title)
    for heading in ("model", "server", "price"):
        table.add_column(heading, overflow="fold")  # names and addresses are to be copied whole
    return table


def _held_to(objective: SteeredConfig) -> str:
    """What the cascade is held to, whatever its policy's threshold is."""
    match objective:
        case RateConfig():
            said = f"at most {objective.at_most:.1%} of the requests are escalated"
        case SpendConfig():
            cap = objective.cap_usd_per_hour
            said = f"{objective.usd_per_hour} USD an hour"
            said += ", without a hard cap" if cap is None else f", and never more than {cap}"
        case QualityConfig():
            said = (
                f"at most {objective.disagreement_at_most:.1%} of the kept drafts differ, with "
                f"probability {objective.with_probability:g}; all is escalated until that is proven"
            )
        case _:
            assert_never(objective)
    return f"Held to: {said}."


def _named(models: Sequence[LoadedModel]) -> Table:
    table = Table("name", title="models that clients ask by name")
    for heading in ("serves", "model", "server", "price"):
        table.add_column(heading, overflow="fold")
    for one in models:
        config = one.config
        price = "unknown" if config.price is None else config.price.words()
        cells = (one.name, ", ".join(sorted(config.serves)), config.model, config.base_url, price)
        table.add_row(*map(escape, cells))
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
