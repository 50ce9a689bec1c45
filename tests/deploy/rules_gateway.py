"""What the manifests tell the gateway is what the gateway understands, by its own code.

Settings are read by ``gateway.settings``, cascades by ``gateway.cascades``: nothing is said twice.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from gateway.cascades import LoadedCascade, ModelConfig, load_cascades
from gateway.config_file import ConfigError
from gateway.settings import PREFIX, Settings
from tests.deploy.manifests import (
    Container,
    Manifests,
    Pod,
    claims,
    containers,
    name_of,
    of_kind,
    pods,
    quantity,
)
from tests.deploy.rules_links import chosen_by, service_ports
from tests.deploy.rules_pods import resources
from understudy.demo import student, teacher_wire

# After open requests: cuts, the journal's flush, spans, the ops port's last second.
ENDING_SECONDS = 10
# What `python -m MODULE` serves where no option names the model.
DEMO_MODELS = {
    "understudy.demo.student": student.MODEL_ALIAS,
    "understudy.demo.teacher": teacher_wire.MODEL,
}
_OF_THE_DEMO = f"{PREFIX}DEMO_"


@dataclass(frozen=True)
class Gateway:
    """A container that runs `understudy serve`, its settings, and the rendering around it."""

    container: Container
    settings: Settings
    manifests: Manifests

    @property
    def where(self) -> str:
        return self.container.where

    def cascades(self) -> tuple[LoadedCascade, ...]:
        """The cascades, from the ConfigMaps that are mounted.  Raises ConfigError."""
        with tempfile.TemporaryDirectory() as folder:
            lay_out(self.container, self.manifests, Path(folder))
            variables = self.container.variables
            return load_cascades(
                Path(folder, *self.settings.config.parts[1:]),
                lambda name: "from-a-secret" if name in variables else None,
            )


def lay_out(container: Container, manifests: Manifests, root: Path) -> None:
    """Write the files of the ConfigMaps that a container mounts, each at its path under a root."""
    configs = {each["metadata"]["name"]: each for each in of_kind(manifests, "ConfigMap")}
    volumes = {each["name"]: each for each in container.pod.spec.get("volumes") or ()}
    for mount in container.spec.get("volumeMounts") or ():
        source = volumes.get(mount["name"], {}).get("configMap") or {}
        for key, text in configs.get(source.get("name"), {}).get("data", {}).items():
            place = Path(root, *PurePosixPath(mount["mountPath"]).parts[1:], key)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def gateways(manifests: Manifests) -> Iterator[Gateway]:
    """Those that would start; ``settings_are_valid`` tells of the others."""
    for container in _gateway_containers(manifests):
        with contextlib.suppress(ValidationError):
            yield Gateway(container, settings_of(container), manifests)


def settings_of(container: Container) -> Settings:
    """As the process will read them.  Raises ValidationError."""
    given: dict[str, Any] = dict(_options(container))
    for entry in container.spec.get("env") or ():
        field = entry["name"].removeprefix(PREFIX).lower()
        if entry["name"].startswith(PREFIX) and field in Settings.model_fields:
            given.setdefault(field, entry.get("value") or SecretStr("redis://from-a-secret"))
    return Settings(**given)


def _gateway_containers(manifests: Manifests) -> Iterator[Container]:
    for container in containers(manifests):
        program, *arguments = container.words or ("",)
        if PurePosixPath(program).name == "understudy" and arguments[:1] == ["serve"]:
            yield container


def _options(container: Container) -> Iterator[tuple[str, object]]:
    """The command's options, which override the variables."""
    for word in container.words:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in Settings.model_fields:
            values = container.option(name.replace("_", "-"))
            yield name, " ".join(values) if values else True


def variables_are_settings(manifests: Manifests) -> Iterator[str]:
    """One that is misspelt is as good as not set."""
    for container in containers(manifests):
        ours = {each for each in container.variables if each.startswith(PREFIX)}
        yield from (f"{container.where}: {each} is no setting" for each in _unknown(ours))
    for config in of_kind(manifests, "ConfigMap"):  # which may be a container's environment
        ours = {each for each in config.get("data") or () if each.startswith(PREFIX)}
        yield from (f"{name_of(config)}: {each} is no setting" for each in _unknown(ours))


def _unknown(variables: set[str]) -> list[str]:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(each for each in variables - known if not each.startswith(_OF_THE_DEMO))


def settings_are_valid(manifests: Manifests) -> Iterator[str]:
    """Beyond loopback the gateway itself refuses to start without keys, unless told to."""
    for container in _gateway_containers(manifests):
        try:
            settings = settings_of(container)
        except ValidationError as error:
            yield f"{container.where} would not start: {error}"
            continue
        if settings.insecure:
            yield f"{container.where} is open to everybody: no keys are asked for"
        for port in (settings.port, settings.ops_port):
            if port is not None and not container.has_port(port):
                yield f"{container.where} listens on {port}, which is none of its ports"


def ends_in_time(manifests: Manifests) -> Iterator[str]:
    """Before the kubelet kills it, open streams have ended and the journal is flushed."""
    for gateway in gateways(manifests):
        settings = gateway.settings
        takes = settings.drain_seconds + settings.shutdown_delay_seconds + ENDING_SECONDS
        grace = gateway.container.pod.spec.get("terminationGracePeriodSeconds", 30)
        if grace < takes:
            yield f"{gateway.where} has {grace} s to end and takes {takes} s"
    for container in containers(manifests):
        for seconds in container.option("shutdown-timeout"):  # vLLM's
            grace = container.pod.spec.get("terminationGracePeriodSeconds", 30)
            if grace < int(seconds) + ENDING_SECONDS:
                yield f"{container.where} has {grace} s to end and takes {seconds} s and some"


def gpus_are_all_used(manifests: Manifests) -> Iterator[str]:
    """A tensor is cut into as many parts as the pod has GPUs: more are refused, fewer wasted."""
    for container in containers(manifests):
        if "vllm" in container.words[:1]:
            parts = container.option("tensor-parallel-size") or ("1",)
            has = resources(container)[1].get("nvidia.com/gpu", "1")
            if parts != (has,):
                yield f"{container.where} has {has} GPUs and cuts tensors into {parts[0]}"


def files_are_where_settings_say(manifests: Manifests) -> Iterator[str]:
    """The journal on a volume that outlives the pod's containers, keys from a Secret."""
    for gateway in gateways(manifests):
        settings, volumes = gateway.settings, _volumes(gateway.container.pod)
        state = _mounted(gateway.container, settings.state_dir)
        if state is None or state.get("readOnly"):
            yield f"{gateway.where}: {settings.state_dir} is on no volume that can be written"
        elif settings.journal_max_bytes >= _size(volumes[state["name"]]):
            yield f"{gateway.where}: the journal may outgrow its volume"
        for path, kind in ((settings.config, "configMap"), (settings.keys_file, "secret")):
            if path is not None:
                mount = _mounted(gateway.container, path)
                if mount is None or kind not in volumes[mount["name"]]:
                    yield f"{gateway.where}: {path} is not in a {kind}"


def _mounted(container: Container, path: Path) -> Mapping[str, Any] | None:
    """The innermost mount that a path is on."""
    mounts = [
        each
        for each in container.spec.get("volumeMounts") or ()
        if PurePosixPath(path).is_relative_to(each["mountPath"])
    ]
    return max(mounts, key=lambda each: len(each["mountPath"]), default=None)


def _volumes(pod: Pod) -> dict[str, Mapping[str, Any]]:
    """The pod's volumes by their names, those that a StatefulSet makes too."""
    return claims(pod) | {each["name"]: each for each in pod.spec.get("volumes") or ()}


def _size(volume: Mapping[str, Any]) -> float:
    """In bytes; where none is said, all that the node has."""
    if "emptyDir" in volume:
        return float(quantity((volume["emptyDir"] or {}).get("sizeLimit", "1P")))
    return float(quantity(volume["resources"]["requests"]["storage"]))


def cascades_are_valid(manifests: Manifests) -> Iterator[str]:
    for gateway in gateways(manifests):
        try:
            gateway.cascades()
        except ConfigError as error:
            yield f"{gateway.where} would not start: {error}"


def models_are_served(manifests: Manifests) -> Iterator[str]:
    """By the name that the cascade asks for; servers outside the rendering are not known."""
    there = tuple(pods(manifests))
    for asked in _asked(manifests):
        for service in of_kind(manifests, "Service"):
            if service["metadata"]["name"] != asked.service:
                continue
            for pod in chosen_by(service, there):
                names = {name for each in pod.serving for name in served_models(each)}
                if asked.model.model not in names:
                    yield f"{asked}: {pod.where} serves {sorted(names)}"


def models_are_asked_where_a_service_is(manifests: Manifests) -> Iterator[str]:
    services = service_ports(manifests)
    for asked in _asked(manifests):
        if asked.is_within and (asked.service, asked.port) not in services:
            yield f"{asked}: there is no such Service"


@dataclass(frozen=True)
class _Asked:
    """A model that a cascade asks, and where."""

    where: str
    role: str
    model: ModelConfig

    def __str__(self) -> str:
        return f"{self.where}: {self.role} {self.model.model} at {self.model.base_urls[0]}"

    @property
    def _host(self) -> str:
        return urlsplit(self.model.base_urls[0]).hostname or ""

    @property
    def service(self) -> str:
        return self._host.partition(".")[0]

    @property
    def port(self) -> int:
        return urlsplit(self.model.base_urls[0]).port or 80

    @property
    def is_within(self) -> bool:
        """Whether it is a Service's name."""
        return "." not in self._host or ".svc" in self._host


def _asked(manifests: Manifests) -> Iterator[_Asked]:
    for gateway in gateways(manifests):
        with contextlib.suppress(ConfigError):  # cascades_are_valid tells of it
            for cascade in gateway.cascades():
                yield _Asked(gateway.where, "student", cascade.config.student)
                yield _Asked(gateway.where, "teacher", cascade.config.teacher)


def served_models(container: Container) -> tuple[str, ...]:
    """The names of the models that a server answers to: vLLM's option, else the demo's own."""
    named = container.option("served-model-name") or container.option("alias")
    modules = [word for word in container.words if word in DEMO_MODELS]
    return named or tuple(DEMO_MODELS[each] for each in modules)
