"""A rendering, read: its pods and their containers, what they are given, what selects them.

Pods are found by their shape, wherever they stand: in a StatefulSet, in a CronJob's template or in
a custom resource.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.deploy.rendering import Manifest

Manifests = Sequence[Manifest]

_UNITS = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTP", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTP", start=1)},
}


@dataclass(frozen=True)
class Pod:
    """A pod, or the template of one; ``owner`` is the object that it stands in."""

    owner: Manifest
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def where(self) -> str:
        return name_of(self.owner)

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def runs_to_its_end(self) -> bool:
        """Whether it is a job's, which nobody asks anything."""
        return self.spec.get("restartPolicy") in ("Never", "OnFailure")

    @property
    def containers(self) -> tuple["Container", ...]:
        """All of them, those that run first too."""
        named = (("initContainers", True), ("containers", False))
        return tuple(
            Container(self, spec, runs_first=first and spec.get("restartPolicy") != "Always")
            for key, first in named
            for spec in self.spec.get(key) or ()
        )

    @property
    def serving(self) -> tuple["Container", ...]:
        """Those that others connect to."""
        if self.runs_to_its_end:
            return ()
        return tuple(each for each in self.containers if not each.runs_first and each.ports)


@dataclass(frozen=True)
class Container:
    """One container of a pod; ``runs_first`` is an init container that ends before the others."""

    pod: Pod
    spec: Mapping[str, Any]
    runs_first: bool = field(kw_only=True)

    @property
    def where(self) -> str:
        return f"{self.pod.where}: container {self.spec['name']}"

    @property
    def words(self) -> tuple[str, ...]:
        """What is run, as far as the manifest says it; a shell's script word by word."""
        given = (*(self.spec.get("command") or ()), *(self.spec.get("args") or ()))
        if given[:2] in (("sh", "-c"), ("bash", "-c")):
            return (*given[:2], *(word for each in given[2:] for word in shlex.split(each)))
        return given

    @property
    def ports(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.spec.get("ports") or ())

    @property
    def values(self) -> dict[str, str]:
        """The variables whose values the manifest says."""
        entries = self.spec.get("env") or ()
        return {each["name"]: str(each.get("value", "")) for each in entries if is_literal(each)}

    @property
    def variables(self) -> frozenset[str]:
        """The names of all of its variables."""
        return frozenset(each["name"] for each in self.spec.get("env") or ())

    def secured(self, setting: str) -> Any:
        """A setting of the security context: the container's own, else its pod's."""
        own = self.spec.get("securityContext") or {}
        return own.get(setting, (self.pod.spec.get("securityContext") or {}).get(setting))

    def has_port(self, wanted: object) -> bool:
        """Whether a port has this name or number."""
        return any(wanted in (port.get("name"), port["containerPort"]) for port in self.ports)

    def option(self, name: str) -> tuple[str, ...]:
        """The words after ``--name``, up to the next option; none where it is not given."""
        for place, word in enumerate(self.words):
            if word.startswith(f"--{name}="):
                return (word.partition("=")[2],)
            if word == f"--{name}":
                rest = self.words[place + 1 :]
                end = next((i for i, each in enumerate(rest) if each.startswith("-")), len(rest))
                return rest[:end]
        return ()


def is_literal(entry: Mapping[str, Any]) -> bool:
    """Whether a variable's value stands in the manifest."""
    return "valueFrom" not in entry


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: Manifests, *kinds: str) -> Iterator[Manifest]:
    return (each for each in manifests if each["kind"] in kinds)


def names_of_kind(manifests: Manifests, *kinds: str) -> frozenset[str]:
    return frozenset(each["metadata"]["name"] for each in of_kind(manifests, *kinds))


def pods(manifests: Manifests) -> Iterator[Pod]:
    for manifest in manifests:
        for spec, metadata in _templates(manifest):
            yield Pod(manifest, spec, metadata)


def containers(manifests: Manifests) -> Iterator[Container]:
    for pod in pods(manifests):
        yield from pod.containers


def _templates(node: object) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    if isinstance(node, list):
        for each in node:
            yield from _templates(each)
    elif isinstance(node, dict):
        spec = node.get("spec")
        if isinstance(spec, dict) and _is_pod(spec):
            yield spec, node.get("metadata") or {}
        else:
            for each in node.values():
                yield from _templates(each)


def _is_pod(spec: Mapping[str, Any]) -> bool:
    found = spec.get("containers")
    return isinstance(found, list) and all(isinstance(e, dict) and "image" in e for e in found)


def claims(pod: Pod) -> dict[str, Mapping[str, Any]]:
    """The volumes that are made for each pod, by name: a StatefulSet's, or a custom resource's."""
    return {each["metadata"]["name"]: each["spec"] for each in _claim_templates(pod.owner)}


def _claim_templates(node: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        yield from node.get("volumeClaimTemplates") or ()
        for each in node.values():
            yield from _claim_templates(each)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels: `matchLabels`, `matchExpressions`, or a plain
    mapping as a Service's.  An empty one takes everything, none takes nothing."""
    if selector is None:
        return False
    if not {"matchLabels", "matchExpressions"} & set(selector):
        return all(labels.get(key) == value for key, value in selector.items())
    exact = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in exact.items()) and all(
        _meets(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case unknown:
            raise ValueError(f"no such operator: {unknown}")


def quantity(text: object) -> Decimal:
    """``500m``, ``2Gi``, ``4`` as a number.  Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]{0,2})", str(text))
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{text} is no quantity")
    return Decimal(found[1]) * _UNITS[found[2]]
