"""What one object says of another holds: selectors, ports, names, mounts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.deploy import documented
from tests.deploy.manifests import (
    Manifests,
    Pod,
    claims,
    name_of,
    names_of_kind,
    of_kind,
    pods,
    selects,
)
from tests.deploy.rendering import Manifest

WORKLOADS = ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
# What every cluster has.
GIVEN = {
    "ServiceAccount": frozenset({"default"}),
    "PriorityClass": frozenset({"system-cluster-critical", "system-node-critical"}),
}


def selectors_match_their_pods(manifests: Manifests) -> Iterator[str]:
    there = tuple(pods(manifests))
    for pod in there:
        selector = (pod.owner.get("spec") or {}).get("selector")
        if pod.owner["kind"] in WORKLOADS and not selects(selector, pod.labels):
            yield f"{pod.where} does not select its own pods"
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("selector") and not chosen_by(service, there):
            yield f"{name_of(service)} selects no pod"


def selected(service: Mapping[str, Any], manifests: Manifests) -> list[Pod]:
    """The pods of a rendering that a Service sends to."""
    return chosen_by(service, pods(manifests))


def chosen_by(service: Mapping[str, Any], there: Iterable[Pod]) -> list[Pod]:
    """Those of some pods that a Service sends to: to find a rendering's pods takes time."""
    selector = service["spec"].get("selector")
    return [pod for pod in there if selector and selects(selector, pod.labels)]


def services_lead_to_ports(manifests: Manifests) -> Iterator[str]:
    there = tuple(pods(manifests))
    for service in of_kind(manifests, "Service"):
        for port in service["spec"].get("ports") or ():
            target = port.get("targetPort", port["port"])
            for pod in chosen_by(service, there):
                if not any(each.has_port(target) for each in pod.containers):
                    yield f"{name_of(service)} sends to port {target}, which {pod.where} has not"


def every_pod_of_a_service_is_meant(manifests: Manifests) -> Iterator[str]:
    """A Service that selects two workloads sends half of the requests to the wrong one."""
    there = tuple(pods(manifests))
    for service in of_kind(manifests, "Service"):
        owners = sorted({pod.where for pod in chosen_by(service, there)})
        if len(owners) > 1:
            yield f"{name_of(service)} selects the pods of {', '.join(owners)}"


def headless_services_are_there(manifests: Manifests) -> Iterator[str]:
    names = names_of_kind(manifests, "Service")
    for owner in of_kind(manifests, "StatefulSet"):
        if owner["spec"].get("serviceName") not in names:
            yield f"{name_of(owner)}: there is no Service {owner['spec'].get('serviceName')}"


def what_pods_refer_to_is_there(manifests: Manifests) -> Iterator[str]:
    """In the rendering, or, where it is a Secret or made later, as a page of deploy/ tells."""
    for pod in pods(manifests):
        for kind, name, keys in dict.fromkeys(_references(pod)):
            has = _keys_of(manifests, kind, name)
            if has is None:
                yield f"{pod.where}: no {kind} {name} is here, nor is it made on a page of deploy/"
            elif missing := keys - has:
                yield f"{pod.where}: the {kind} {name} has no key {', '.join(sorted(missing))}"


def _keys_of(manifests: Manifests, kind: str, name: str) -> frozenset[str] | None:
    """What is in an object, for a ConfigMap or a Secret; None where there is no such object."""
    for manifest in of_kind(manifests, kind):
        if manifest["metadata"]["name"] == name:
            return frozenset((*(manifest.get("data") or ()), *(manifest.get("binaryData") or ())))
    if name in GIVEN.get(kind, ()):
        return frozenset()
    return documented.created().get((kind, name))


Reference = tuple[str, str, frozenset[str]]


def _references(pod: Pod) -> Iterator[Reference]:
    """Kind, name and the keys that are asked for; what is optional is left out."""
    yield from _named(pod, "ServiceAccount", "serviceAccountName")
    yield from _named(pod, "PriorityClass", "priorityClassName")
    for volume in pod.spec.get("volumes") or ():
        yield from _of_a_volume(volume)
    for container in pod.containers:
        for entry in container.spec.get("env") or ():
            source = entry.get("valueFrom") or {}
            for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if key in source and not source[key].get("optional"):
                    yield kind, source[key]["name"], frozenset({source[key]["key"]})
        for entry in container.spec.get("envFrom") or ():
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in entry and not entry[key].get("optional"):
                    yield kind, entry[key]["name"], frozenset()


def _named(pod: Pod, kind: str, key: str) -> Iterator[Reference]:
    if pod.spec.get(key):
        yield kind, pod.spec[key], frozenset()


def _of_a_volume(volume: Mapping[str, Any]) -> Iterator[Reference]:
    for source in (volume, *(volume.get("projected") or {}).get("sources", ())):
        for kind, key, name in (
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
            ("Secret", "secret", "name"),
            ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
        ):
            found = source.get(key) or {}
            if name in found and not found.get("optional"):
                yield kind, found[name], frozenset(item["key"] for item in found.get("items") or ())


def mounts_have_volumes(manifests: Manifests) -> Iterator[str]:
    for pod in pods(manifests):
        volumes = {each["name"] for each in pod.spec.get("volumes") or ()} | set(claims(pod))
        mounted = set()
        for container in pod.containers:
            names = {each["name"] for each in container.spec.get("volumeMounts") or ()}
            yield from (f"{container.where} mounts no volume {e}" for e in sorted(names - volumes))
            mounted |= names
        yield from (f"{pod.where}: nothing mounts volume {e}" for e in sorted(volumes - mounted))


def policies_select_pods(manifests: Manifests) -> Iterator[str]:
    """A NetworkPolicy or a budget of nothing looks like one that works."""
    there = tuple(pods(manifests))
    for each in of_kind(manifests, "NetworkPolicy", "PodDisruptionBudget"):
        key = "podSelector" if each["kind"] == "NetworkPolicy" else "selector"
        if not any(selects(each["spec"].get(key), pod.labels) for pod in there):
            yield f"{name_of(each)} selects no pod"


def monitors_find_their_ports(manifests: Manifests) -> Iterator[str]:
    for monitor in of_kind(manifests, "PodMonitor"):
        selector = monitor["spec"].get("selector")
        found = [pod for pod in pods(manifests) if selects(selector, pod.labels)]
        ports = [{p.get("name") for c in pod.containers for p in c.ports} for pod in found]
        yield from _unmonitored(monitor, monitor["spec"]["podMetricsEndpoints"], ports)
    for monitor in of_kind(manifests, "ServiceMonitor"):
        selector = monitor["spec"].get("selector")
        services = of_kind(manifests, "Service")
        chosen = [s for s in services if selects(selector, s["metadata"].get("labels") or {})]
        ports = [{port.get("name") for port in each["spec"]["ports"]} for each in chosen]
        yield from _unmonitored(monitor, monitor["spec"]["endpoints"], ports)


def _unmonitored(
    monitor: Manifest, endpoints: Sequence[Mapping[str, Any]], ports: Sequence[set[Any]]
) -> Iterator[str]:
    """``ports`` are the names of the ports of each thing that is monitored."""
    if not ports:
        yield f"{name_of(monitor)} selects nothing"
    for endpoint in endpoints:
        if not all(endpoint.get("port") in names for names in ports):
            yield f"{name_of(monitor)}: not all that it selects has port {endpoint.get('port')}"


def peers_are_there(manifests: Manifests) -> Iterator[str]:
    """Whom a NetworkPolicy lets in or out of our own namespace, and by which of its ports."""
    there = tuple(pods(manifests))
    for policy in of_kind(manifests, "NetworkPolicy"):
        spec = policy["spec"]
        subjects = [pod for pod in there if selects(spec.get("podSelector"), pod.labels)]
        for rule, key in [
            *((rule, "from") for rule in spec.get("ingress") or ()),
            *((rule, "to") for rule in spec.get("egress") or ()),
        ]:
            peers = []
            for peer in rule.get(key) or ():
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    found = [pod for pod in there if selects(peer["podSelector"], pod.labels)]
                    peers += found
                    if not found:
                        yield f"{name_of(policy)}: {key} {peer['podSelector']} is nobody"
            receivers = subjects if key == "from" else peers
            yield from _closed_ports(name_of(policy), rule, receivers)


def _closed_ports(where: str, rule: Mapping[str, Any], receivers: list[Pod]) -> Iterator[str]:
    for port in rule.get("ports") or ():
        wanted = port.get("port")
        if wanted is None or not receivers:
            continue
        if not any(each.has_port(wanted) for pod in receivers for each in pod.containers):
            yield f"{where}: none of its pods has port {wanted}"


def what_is_scaled_is_there(manifests: Manifests) -> Iterator[str]:
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        kind = target.get("kind", "Deployment")
        if target["name"] not in names_of_kind(manifests, kind):
            yield f"{name_of(scaler)}: there is no {kind} {target['name']}"


def service_ports(manifests: Manifests) -> frozenset[tuple[str, int]]:
    """The names and ports that can be connected to."""
    return frozenset(
        (service["metadata"]["name"], port["port"])
        for service in of_kind(manifests, "Service")
        for port in service["spec"].get("ports") or ()
    )


def routes_lead_to_services(manifests: Manifests) -> Iterator[str]:
    ports = service_ports(manifests)
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"].get("rules") or ():
            for backend in rule.get("backendRefs") or ():
                if (backend["name"], backend.get("port")) not in ports:
                    yield f"{name_of(route)}: no Service {backend['name']}:{backend.get('port')}"
