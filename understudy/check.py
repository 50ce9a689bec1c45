"""``understudy check``: validate a configuration without starting anything."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.cascades import ConfigError, LoadedCascade, load_cascades
from gateway.settings import read_secret

CONFIG_EXIT_CODE = 2


def check(config: Path) -> int:
    """Validate a configuration: the file, the policies and the keys that it names.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    """
    try:
        cascades = load_cascades(config, read_secret)
    except ConfigError as error:
        Console(stderr=True).print(
            f"[bold red]Not valid:[/]\n{error}", highlight=False, soft_wrap=True
        )
        return CONFIG_EXIT_CODE
    console = Console()
    console.print(_table(cascades))
    for cascade in cascades:
        if not cascade.policy.is_calibrated:
            console.print(f"[yellow]{cascade.name}: no policy: the default rule is uncalibrated")
    console.print(f"[green]{config} is valid.")
    return 0


def _table(cascades: tuple[LoadedCascade, ...]) -> Table:
    table = Table("cascade", "student", "teacher", "policy", "keeps from", "prices")
    for cascade in cascades:
        config = cascade.config
        prices = [
            f"{role}: {'set' if model.price else 'unknown'}"
            for role, model in (("student", config.student), ("teacher", config.teacher))
        ]
        table.add_row(
            cascade.name,
            f"{config.student.model}\n{config.student.base_url}",
            f"{config.teacher.model}\n{config.teacher.base_url}",
            cascade.policy.version,
            f"{cascade.policy.threshold.value:g}",
            "\n".join(prices),
        )
    return table
