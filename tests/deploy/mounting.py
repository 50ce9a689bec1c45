"""From a rendered container to a process of this machine.

What is changed of a manifest is this, and nothing else: paths below its mounts stand below a
folder, names of Services are addresses on loopback, a pod listens on an address of its own there,
and its seconds may be shortened.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.rendering import Manifest

EVERY_ADDRESS = "0.0.0.0"
_SERVICE = re.compile(r"//([a-z0-9-]+:\d+)")
_SECONDS = re.compile(r"UNDERSTUDY_\w+_SECONDS")


@dataclass(frozen=True)
class Here:
    """Where on this machine is what manifests name.

    ``services`` has addresses by name and port (``student:8000``); ``secrets`` values by Secret and
    key, which are in no manifest.  A second of a manifest takes ``pace`` seconds.
    """

    manifests: Sequence[Manifest]
    services: Mapping[str, str]
    secrets: Mapping[str, Mapping[str, str]]
    pace: float = 1.0

    def one(self, kind: str, name: str) -> Manifest:
        """The manifest of that kind and name, with the hash at the end of names that have one."""
        found = [
            each
            for each in self.manifests
            if (each["kind"], each["metadata"]["name"]) == (kind, name)
        ]
        assert len(found) == 1, f"{len(found)} manifests of {kind} {name}"
        return found[0]

    def with_addresses(self, text: str) -> str:
        """A text with the addresses of Services in place of their names."""
        return _SERVICE.sub(lambda found: "//" + self.services.get(found[1], found[1]), text)


@dataclass(frozen=True)
class Place:
    """Where a pod is: the folder that stands for its root, and its address."""

    root: Path
    address: str

    def path(self, path: str) -> Path:
        """Where a path of the container is."""
        return self.root / path.lstrip("/")


def command_of(container: Mapping[str, Any], place: Place) -> list[str]:
    """The command as it stands, found among the programs of this Python's environment."""
    words: list[str] = [*container["command"], *container.get("args", ())]
    told = [place.address if each == EVERY_ADDRESS else each for each in words[1:]]
    return [str(Path(sys.executable).parent / words[0]), *told]


def environment_of(container: Mapping[str, Any], here: Here, place: Place) -> dict[str, str]:
    """Exactly the container's variables, beside what any image has."""
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    values = {one["name"]: _value_of(one, here) for one in container.get("env", ())}
    found = {}
    for name, value in values.items():
        if value is None:
            continue
        if any(value == mount or value.startswith(mount + "/") for mount in mounts):
            found[name] = str(place.path(value))
        elif value == EVERY_ADDRESS:
            found[name] = place.address
        elif _SECONDS.fullmatch(name):
            found[name] = str(math.ceil(float(value) * here.pace))
        else:
            found[name] = here.with_addresses(value)
    return {"PATH": str(Path(sys.executable).parent), "HOME": "/nonexistent", **found}


def mount(spec: Mapping[str, Any], claims: Sequence[str], here: Here, place: Place) -> None:
    """Put the files of a pod's volumes where its container looks for them.

    ``claims`` are volumes that outlive the pod: they are left as they are.
    """
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    (container,) = spec["containers"]
    # The outer folders first: some mounts lie within others.
    for each in sorted(container["volumeMounts"], key=lambda one: len(one["mountPath"])):
        folder = place.path(each["mountPath"])
        folder.mkdir(parents=True, exist_ok=True)
        if each["name"] not in claims:
            for name, content in _files_of(volumes[each["name"]], here).items():
                (folder / name).write_text(here.with_addresses(content))


def _value_of(variable: Mapping[str, Any], here: Here) -> str | None:
    """None where it is of a Secret that may be missing, and is."""
    if "value" in variable:
        return str(variable["value"])
    wanted = variable["valueFrom"]["secretKeyRef"]
    if wanted.get("optional") and wanted["name"] not in here.secrets:
        return None
    return here.secrets[wanted["name"]][wanted["key"]]


def _files_of(volume: Mapping[str, Any], here: Here) -> Mapping[str, str]:
    if "emptyDir" in volume:
        return {}
    if "secret" in volume:
        return here.secrets[volume["secret"]["secretName"]]
    source = volume["configMap"]
    if source.get("optional"):
        names = [one["metadata"]["name"] for one in here.manifests if one["kind"] == "ConfigMap"]
        if source["name"] not in names:
            return {}
    data: Mapping[str, str] = here.one("ConfigMap", source["name"])["data"]
    return data
