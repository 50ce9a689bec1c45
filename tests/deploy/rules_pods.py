"""What every container and every pod must keep to: least privilege, limits, probes, images."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.deploy.manifests import (
    Container,
    Manifests,
    containers,
    name_of,
    pods,
    quantity,
)

# By these people and tools find what belongs to us, and which part of it a pod is.
LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of")
LABELS_OF_PODS = ("app.kubernetes.io/name", "app.kubernetes.io/component")
# A namespace may hold more than us, and a ConfigMap may be the user's own.
WITHOUT_LABELS = frozenset({"ConfigMap", "Namespace"})
OF_THE_CLUSTER = frozenset({
    "ClusterRole", "ClusterRoleBinding", "ClusterTrainingRuntime", "Namespace", "PriorityClass",
    "StorageClass",
})  # fmt: skip
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
NODE_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def runs_as_a_numbered_user(manifests: Manifests) -> Iterator[str]:
    """The kubelet cannot tell whether a user with a name alone is root, and refuses it."""
    for container in containers(manifests):
        if container.secured("runAsNonRoot") is not True:
            yield f"{container.where} may run as root: say runAsNonRoot: true"
        user = container.secured("runAsUser")
        if not isinstance(user, int) or user <= 0:
            yield f"{container.where} has no number for its user: say runAsUser"


def root_file_system_is_read_only(manifests: Manifests) -> Iterator[str]:
    """What is written where no volume is would be lost with the container, and fill the node."""
    for container in containers(manifests):
        if container.secured("readOnlyRootFilesystem") is not True:
            yield f"{container.where} can write into its image: say readOnlyRootFilesystem: true"


def has_no_privileges(manifests: Manifests) -> Iterator[str]:
    for container in containers(manifests):
        capabilities = container.secured("capabilities") or {}
        if container.secured("allowPrivilegeEscalation") is not False:
            yield f"{container.where} can gain privileges: say allowPrivilegeEscalation: false"
        if container.secured("privileged"):
            yield f"{container.where} is privileged"
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{container.where} has capabilities: say capabilities: {{drop: [ALL]}}"


def has_a_seccomp_profile(manifests: Manifests) -> Iterator[str]:
    for container in containers(manifests):
        profile = (container.secured("seccompProfile") or {}).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"{container.where} has no seccompProfile"


def keeps_off_the_node(manifests: Manifests) -> Iterator[str]:
    for pod in pods(manifests):
        yield from (f"{pod.where} says {each}" for each in NODE_NAMESPACES if pod.spec.get(each))
        for volume in pod.spec.get("volumes") or ():
            if "hostPath" in volume:
                yield f"{pod.where} mounts the node's {volume['hostPath'].get('path')}"
        for container in pod.containers:
            if any("hostPort" in port for port in container.ports):
                yield f"{container.where} takes a port of the node"


def has_no_token(manifests: Manifests) -> Iterator[str]:
    """Nothing of ours speaks to the API server, so a break-in shall find no key to it."""
    for pod in pods(manifests):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where} is given a token: say automountServiceAccountToken: false"


def says_what_it_takes(manifests: Manifests) -> Iterator[str]:
    """No limit of processor time is asked for: a gateway that is throttled holds tokens back."""
    for container in containers(manifests):
        requests, limits = resources(container)
        if "cpu" not in requests:
            yield f"{container.where} requests no cpu"
        for kind, given in (("request", requests), ("limit", limits)):
            if "memory" not in given:
                yield f"{container.where} has no {kind} of memory"
        for name, limit in limits.items():
            if name in requests and quantity(requests[name]) > quantity(limit):
                yield f"{container.where} requests more {name} than its limit"


def resources(container: Container) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What a container requests, and its limits."""
    given = container.spec.get("resources") or {}
    return given.get("requests") or {}, given.get("limits") or {}


def answers_probes(manifests: Manifests) -> Iterator[str]:
    """Who serves says when it has started, when it is ready and that it lives, on ports it has."""
    for pod in pods(manifests):
        for container in pod.serving:
            yield from _faults_of_probes(container)


def _faults_of_probes(container: Container) -> Iterator[str]:
    for name in PROBES:
        probe = container.spec.get(name)
        if probe is None:
            yield f"{container.where} has no {name}"
            continue
        for how in ("httpGet", "tcpSocket", "grpc"):
            port = probe.get(how, {}).get("port")
            if port is not None and not container.has_port(port):
                yield f"{container.where}: {name} asks port {port}, which it does not have"


def image_is_pinned(manifests: Manifests) -> Iterator[str]:
    """A tag that moves, or none, makes two replicas of one rollout two programs."""
    for container in containers(manifests):
        image = container.spec["image"]
        tag = re.search(r":([\w.-]+)$", image)
        if "@sha256:" not in image and (tag is None or not re.search(r"\d+\.\d+", tag[1])):
            yield f"{container.where}: {image} may be another tomorrow: say its whole version"


def is_labelled(manifests: Manifests) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] not in WITHOUT_LABELS:
            yield from _missing_labels(name_of(manifest), manifest["metadata"], LABELS)
    for pod in pods(manifests):
        yield from _missing_labels(f"a pod of {pod.where}", pod.metadata, LABELS_OF_PODS)


def _missing_labels(
    where: str, metadata: Mapping[str, Any], wanted: tuple[str, ...]
) -> Iterator[str]:
    labels = metadata.get("labels") or {}
    yield from (f"{where} has no label {each}" for each in wanted if not labels.get(each))


def is_in_one_namespace(manifests: Manifests) -> Iterator[str]:
    """Without one an object lands in whatever namespace the user's kubectl is set to."""
    found = set()
    for manifest in manifests:
        namespace = manifest["metadata"].get("namespace")
        if manifest["kind"] in OF_THE_CLUSTER:
            if namespace is not None:
                yield f"{name_of(manifest)} is of the cluster and names a namespace"
        elif namespace is None:
            yield f"{name_of(manifest)} is in no namespace"
        else:
            found.add(namespace)
    if len(found) > 1:
        yield f"objects are in several namespaces: {sorted(found)}"


def names_are_valid(manifests: Manifests) -> Iterator[str]:
    """What a schema does not say and the API server refuses."""
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        # Of these pods are named, or names in the DNS.
        short = manifest["kind"] in ("Service", "StatefulSet", "CronJob", "Job", "Deployment")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) or len(name) > 253:
            yield f"{name_of(manifest)} has no valid name"
        elif short and (len(name) > 52 or "." in name):
            yield f"{name_of(manifest)} is too long for the names that are made from it"
        for key, value in (manifest["metadata"].get("labels") or {}).items():
            if not re.fullmatch(r"([a-zA-Z0-9]([\w.-]{0,61}[a-zA-Z0-9])?)?", str(value)):
                yield f"{name_of(manifest)}: the label {key} has no valid value: {value}"
    for container in containers(manifests):
        for port in container.ports:
            if not re.fullmatch(
                r"(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", port.get("name", "a")
            ):
                yield f"{container.where}: {port['name']} is no name of a port"


def nothing_is_null(manifests: Manifests) -> Iterator[str]:
    """A patch that went wrong leaves these, and the schemas take them."""
    for manifest in manifests:
        yield from (f"{name_of(manifest)}: {path} is null" for path in _nulls(manifest, ""))


def _nulls(node: object, path: str) -> Iterator[str]:
    if node is None:
        yield path
    elif isinstance(node, dict):
        for key, each in node.items():
            yield from _nulls(each, f"{path}.{key}")
    elif isinstance(node, list):
        for place, each in enumerate(node):
            yield from _nulls(each, f"{path}[{place}]")


def gives_a_name_once(manifests: Manifests) -> Iterator[str]:
    """Lists that the API server reads as mappings: of two entries the last would win, or none."""
    for pod in pods(manifests):
        yield from _twice(pod.where, "volumes", "name", pod.spec)
        for container in pod.containers:
            for key, name in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
                yield from _twice(container.where, key, name, container.spec)


def _twice(where: str, key: str, name: str, spec: Mapping[str, Any]) -> Iterator[str]:
    given = Counter(each.get(name) for each in spec.get(key) or ())
    yield from (f"{where}: {key} has {each} twice" for each, count in given.items() if count > 1)
