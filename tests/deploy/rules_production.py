"""What production needs beyond: enough replicas, apart from each other, through every drain."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.deploy.manifests import Manifests, Pod, name_of, of_kind, pods, selects
from tests.deploy.rules_gateway import gateways
from tests.deploy.rules_links import chosen_by
from tests.deploy.rules_pods import resources

MIN_GATEWAYS = 3


def there_are_three_gateways(manifests: Manifests) -> Iterator[str]:
    """With one in a rollout and one on a node that fails, one still serves."""
    for gateway in gateways(manifests):
        replicas = least_replicas(gateway.container.pod.owner, manifests)
        if replicas < MIN_GATEWAYS:
            yield f"{gateway.where} has {replicas} replicas, {MIN_GATEWAYS} are needed"


def drains_leave_enough(manifests: Manifests) -> Iterator[str]:
    """A budget for each that has replicas, one that lets nodes be drained all the same."""
    budgets = list(of_kind(manifests, "PodDisruptionBudget"))
    for pod, replicas in _replicated(manifests):
        own = [each for each in budgets if selects(each["spec"].get("selector"), pod.labels)]
        if len(own) != 1:  # of two, the API server lets no pod be evicted
            yield f"{pod.where} has {len(own)} PodDisruptionBudgets, 1 is needed"
        for budget in own:
            if _allowed(budget["spec"], replicas) < 1:
                yield f"{name_of(budget)} lets no node be drained"


def _allowed(spec: Mapping[str, Any], replicas: int) -> int:
    """How many pods may go at once; a share is rounded up, as the API server does."""
    if "maxUnavailable" in spec:
        return _count(spec["maxUnavailable"], replicas)
    return replicas - _count(spec.get("minAvailable", replicas), replicas)


def _count(value: int | str, replicas: int) -> int:
    if isinstance(value, int):
        return value
    return -(-replicas * int(value.removesuffix("%")) // 100)


def replicas_are_apart(manifests: Manifests) -> Iterator[str]:
    """Not all on one node, nor in one zone, by constraints that count the pods they are for."""
    for pod, _ in _replicated(manifests):
        spread = pod.spec.get("topologySpreadConstraints") or ()
        keys = {each["topologyKey"] for each in spread}
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone"):
            if key not in keys:
                yield f"{pod.where} is not spread over {key}"
        for each in spread:
            if not selects(each.get("labelSelector"), pod.labels):
                yield f"{pod.where}: a spread constraint does not count its own pods"
            if each.get("nodeTaintsPolicy") != "Honor":  # the default counts nodes it cannot have
                yield f"{pod.where}: a spread constraint counts nodes that take no such pod"


def has_a_priority(manifests: Manifests) -> Iterator[str]:
    """Higher for who serves than for who trains, so that no job evicts a server."""
    values = {e["metadata"]["name"]: e["value"] for e in of_kind(manifests, "PriorityClass")}
    ranks: dict[bool, list[int]] = {True: [], False: []}
    for pod in pods(manifests):
        name = pod.spec.get("priorityClassName")
        if name is None:
            yield f"{pod.where} has no priorityClassName"
        elif name in values:
            ranks[bool(pod.serving)].append(values[name])
    if ranks[True] and ranks[False] and min(ranks[True]) <= max(ranks[False]):
        yield "a job's priority is not below every server's"


def memory_is_not_lent(manifests: Manifests) -> Iterator[str]:
    """Who serves and takes more than it asked for is the first to go when a node's runs out."""
    for pod in pods(manifests):
        for container in pod.serving:
            requests, limits = resources(container)
            if requests.get("memory") != limits.get("memory"):
                yield f"{container.where} may take more memory than it requests"


def _replicated(manifests: Manifests) -> Iterator[tuple[Pod, int]]:
    """Pods behind a Service of which there are several, and how many."""
    there = tuple(pods(manifests))
    services = of_kind(manifests, "Service")
    behind = {pod.where for service in services for pod in chosen_by(service, there)}
    for pod in there:
        replicas = least_replicas(pod.owner, manifests)
        if pod.where in behind and replicas > 1:
            yield pod, replicas


def least_replicas(owner: Mapping[str, Any], manifests: Manifests) -> int:
    """The replicas that are always there: a scaler's least, else what the workload says."""
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        kind = target.get("kind", "Deployment")
        if (kind, target["name"]) == (owner["kind"], owner["metadata"]["name"]):
            # Kubernetes' own scaler starts at 1, KEDA's at 0.
            default = 1 if scaler["kind"] == "HorizontalPodAutoscaler" else 0
            return int(
                scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", default))
            )
    return int(owner["spec"].get("replicas", 1))
