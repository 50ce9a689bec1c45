"""Reads deploy/compose.yaml as Compose does: merged keys, defaults, paths from its own folder."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose.yaml"
SECRETS = "compose/secrets"

_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")

Service = dict[str, Any]


@cache
def document() -> dict[str, Any]:
    """The file with every variable at its default; nobody changes it."""
    text = _DEFAULT.sub(lambda found: found[1], COMPOSE.read_text())
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def services() -> dict[str, Service]:
    found: dict[str, Service] = document()["services"]
    return found


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, or a named volume, at a place in a container."""

    source: Path | str
    target: str
    is_read_only: bool


def mounts_of(service: Service, secrets: Path) -> list[Mount]:
    """What a service sees; ``secrets`` is the folder that make-secrets made."""
    found = []
    for one in service.get("volumes", ()):
        source: Path | str = one["source"]
        if one["type"] == "bind":
            source = (COMPOSE.parent / source).resolve()
        found.append(Mount(source, one["target"], one.get("read_only", False)))
    for one in service.get("secrets", ()):
        name, target = (one, one) if isinstance(one, str) else (one["source"], one["target"])
        file = Path(document()["secrets"][name]["file"])
        assert file.parent == Path(SECRETS), file
        place = target if target.startswith("/") else f"/run/secrets/{target}"
        found.append(Mount(secrets / file.name, place, is_read_only=True))
    return found


def environment_of(service: Service, secrets: Path) -> dict[str, str]:
    """What a service's process is told beside its image's own environment."""
    found: dict[str, str] = {}
    for file in service.get("env_file", ()):
        assert Path(file).parent == Path(SECRETS), file
        for line in (secrets / Path(file).name).read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found[name] = value
    found |= service.get("environment", {})
    return found


def command_of(service: Service) -> list[str]:
    """``command``, with Compose's way to write a dollar undone."""
    return [str(word).replace("$$", "$") for word in service["command"]]


def seconds(duration: str) -> float:
    """What Compose understands by 150s or 30m."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
