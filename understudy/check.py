"""``understudy check``: validate a configuration, and on request the servers that it names."""

from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gateway.cascades import ConfigError, LoadedCascade, ModelConfig, load_cascades
from gateway.settings import read_secret

CONFIG_EXIT_CODE = 2
CONNECT_SECONDS = 5.0


def check(config: Path, *, connect: bool = False) -> int:
    """Validate a configuration: the file, the policies and the keys that it names.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    connect
        Also ask each model server whether it is there and has the model.
    """
    try:
        cascades = load_cascades(config, read_secret)
    except ConfigError as error:
        console = Console(stderr=True)
        console.print(Text("Not valid:\n", style="bold red") + Text(str(error)), soft_wrap=True)
        return CONFIG_EXIT_CODE
    console = Console()
    problems = 0
    for cascade in cascades:
        models = (
            ("student", cascade.config.student, cascade.student_key),
            ("teacher", cascade.config.teacher, cascade.teacher_key),
        )
        table = _table(cascade)
        for role, model, key in models:
            state = _state(model, key) if connect else "not asked (--connect)"
            problems += connect and state != "ok"
            price = (
                "unknown" if model.price is None else f"{model.price.input}/{model.price.output}"
            )
            table.add_row(role, *map(escape, (model.model, model.base_url, price, state)))
        console.print(table)
        if not cascade.policy.is_calibrated:
            console.print("[yellow]No policy: the default rule orders drafts, uncalibrated.")
    console.print(f"[green]{escape(str(config))} is valid.")
    return 1 if problems else 0


def _table(cascade: LoadedCascade) -> Table:
    policy = cascade.policy
    title = f"{cascade.name}: policy {policy.version}, keeps from {policy.threshold.value:g}"
    return Table("role", "model", "server", "USD in/out per 1M", "server says", title=title)


def _state(model: ModelConfig, key: str | None) -> str:
    """``ok``, or what is wrong with the server."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    url = model.base_url.rstrip("/") + "/models"
    try:
        response = httpx.get(url, headers=headers, timeout=CONNECT_SECONDS, trust_env=False)
        response.raise_for_status()
        names = [entry["id"] for entry in response.json()["data"]]
    except httpx.HTTPStatusError as error:
        return f"status {error.response.status_code}"
    except httpx.HTTPError as error:
        return f"not reached: {error}"
    except (ValueError, KeyError, TypeError):
        return "no list of models"
    return "ok" if model.model in names else f"has no {model.model}, but {', '.join(names)}"
