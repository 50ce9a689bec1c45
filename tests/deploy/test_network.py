"""The NetworkPolicies let through what the manifests need, and nothing else.

``is_allowed`` is what a network plugin decides, as far as our policies use it: pods and namespaces
by their labels, addresses, and ports by their numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import Manifests, of_kind, pods, selects
from tests.deploy.rendering import KUSTOMIZE, Combination

OURS = "understudy"
GPU = Combination("overlays/gpu")
TRAINING_NODES = Combination("overlays/gpu", ("examples/train-kubeflow",))


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod by its namespace and labels, or an address outside."""

    name: str
    namespace: str | None = OURS
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None


def is_allowed(source: Peer, target: Peer, port: tuple[str, int], manifests: Manifests) -> bool:
    """Whether both ends' policies let a connection through."""
    ends = (("Egress", source, target), ("Ingress", target, source))
    return all(_lets(how, own, other, port, manifests) for how, own, other in ends)


def _lets(
    direction: str, own: Peer, other: Peer, port: tuple[str, int], manifests: Manifests
) -> bool:
    """Whether one end does: without a policy that selects it, all; else what any of them names."""
    if own.namespace != OURS:
        return True
    policies = [
        each["spec"]
        for each in of_kind(manifests, "NetworkPolicy")
        if direction in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], own.labels)
    ]
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return not policies or any(
        _matches(rule, peers, other, port) for spec in policies for rule in spec.get(key) or ()
    )


def _matches(rule: Mapping[str, Any], peers: str, other: Peer, port: tuple[str, int]) -> bool:
    ports = rule.get("ports")
    named = ports is None or any((e.get("protocol", "TCP"), e["port"]) == port for e in ports)
    return named and (rule.get(peers) is None or any(_is(peer, other) for peer in rule[peers]))


def _is(peer: Mapping[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        inside = [ip_network(each) for each in (block["cidr"], *block.get("except", ()))]
        return other.address is not None and [
            ip_address(other.address) in each for each in inside
        ] == [True, *[False] * (len(inside) - 1)]
    if other.namespace is None:
        return False
    names = {"kubernetes.io/metadata.name": other.namespace}
    is_there = (
        selects(peer["namespaceSelector"], names)
        if "namespaceSelector" in peer
        else other.namespace == OURS
    )
    return is_there and ("podSelector" not in peer or selects(peer["podSelector"], other.labels))


DNS, HTTP, OPS = ("UDP", 53), ("TCP", 8080), ("TCP", 8081)
DNS_TCP = ("TCP", 53)
MODEL, STORE, OTLP, HTTPS = ("TCP", 8000), ("TCP", 6379), ("TCP", 4318), ("TCP", 443)
PORTS = (DNS, DNS_TCP, HTTP, OPS, MODEL, STORE, OTLP, HTTPS, ("TCP", 22))

OUTSIDE = (
    Peer("name service", "kube-system", {"k8s-app": "kube-dns"}),
    Peer("other of the system", "kube-system", {"k8s-app": "metrics-server"}),
    Peer("ingress", "gateway-system", {"app": "envoy"}),
    Peer("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    Peer("collector", "observability", {"app.kubernetes.io/name": "opentelemetry-collector"}),
    Peer("stranger", "default", {"app.kubernetes.io/component": "gateway"}),
    Peer("pod without labels"),
    Peer("hub", None, address="18.160.143.99"),
    Peer("metadata of the cloud", None, address="169.254.169.254"),
    Peer("private address", None, address="10.3.4.5"),
)

# Who has to reach whom, and by which port. Everything else is closed.
NEEDED = {
    *(("gateway", to, MODEL) for to in ("student", "teacher")),
    ("gateway", "valkey", STORE),
    ("gateway", "collector", OTLP),
    ("ingress", "gateway", HTTP),
    ("prometheus", "gateway", OPS),
    *(("prometheus", to, MODEL) for to in ("student", "teacher")),
    ("export", "valkey", STORE),
    *(("measure", to, MODEL) for to in ("student", "teacher")),
    ("promote", "student", MODEL),
    ("promote", "valkey", STORE),
    *(("doctor", to, MODEL) for to in ("student", "teacher")),
    ("doctor", "valkey", STORE),
    *((source, "hub", HTTPS) for source in ("student", "teacher", "base")),
    *(
        (source, "name service", port)
        for source in (
            "gateway", "student", "teacher", "base", "export", "measure", "promote", "doctor",
        )
        for port in (DNS, DNS_TCP)
    ),
}  # fmt: skip


def ours(manifests: Manifests) -> Iterator[Peer]:
    """The pods of a rendering: jobs by their step, all others by their component."""
    for pod in pods(manifests):
        name = pod.labels.get("understudy/step") or pod.labels["app.kubernetes.io/component"]
        yield Peer(name, labels=pod.labels)


def opened(manifests: Manifests) -> set[tuple[str, str, tuple[str, int]]]:
    """All that the policies let through of what touches us."""
    everybody: Sequence[Peer] = (*ours(manifests), *OUTSIDE)
    return {
        (source.name, target.name, port)
        for source, target, port in product(everybody, everybody, PORTS)
        if OURS in (source.namespace, target.namespace) and source is not target
        if is_allowed(source, target, port, manifests)
    }


def test_exactly_what_is_needed_gets_through() -> None:
    found = opened(GPU.manifests)
    assert found == NEEDED, f"open: {found - NEEDED}; closed: {NEEDED - found}"


def test_both_ends_of_every_connection_say_the_same() -> None:
    """One that lets in whom the other does not let out is open for whoever opens the other."""
    inside = tuple(ours(GPU.manifests))
    differing = {
        (source.name, target.name, port)
        for source, target, port in product(inside, inside, PORTS)
        if source is not target
        if _lets("Egress", source, target, port, GPU.manifests)
        != _lets("Ingress", target, source, port, GPU.manifests)
    }
    assert not differing


def test_who_is_given_an_address_or_a_key_gets_there() -> None:
    """What the table above says is needed is what the pods are made to do."""
    wanted = {
        "UNDERSTUDY_REDIS_URL": ("valkey", STORE),
        "STUDENT_API_KEY": ("student", MODEL),
    }
    given = set()
    for pod, peer in zip(pods(GPU.manifests), ours(GPU.manifests), strict=True):
        variables = frozenset().union(*(each.variables for each in pod.containers))
        given |= {(peer.name, *to) for name, to in wanted.items() if name in variables}
    assert len(given) > len(wanted)
    assert given <= NEEDED


@pytest.mark.parametrize("left_out", ["default-deny", "gateway", "valkey", "student", "dns"])
def test_a_policy_that_is_missing_is_seen(left_out: str) -> None:
    fewer = [
        each
        for each in GPU.manifests
        if (each["kind"], each["metadata"]["name"]) != ("NetworkPolicy", left_out)
    ]
    assert opened(fewer) != NEEDED


def test_nodes_of_one_training_reach_each_other_only_where_their_policy_is() -> None:
    """It is beside the example, for clusters that have the component `network`."""
    closed = TRAINING_NODES.manifests
    beside = KUSTOMIZE / "examples/train-kubeflow/network.yaml"
    (node,) = (peer for peer in ours(closed) if peer.name == "train-nodes")
    another = Peer("another", labels=node.labels)
    nccl = ("TCP", 29500)
    assert not is_allowed(node, another, nccl, closed)
    opened_up = (*closed, yaml.safe_load(beside.read_text()))
    assert is_allowed(node, another, nccl, opened_up)
    assert not is_allowed(node, next(ours(closed)), nccl, opened_up)


def test_the_route_cuts_no_stream_and_leads_to_the_api_alone() -> None:
    (route,) = of_kind(GPU.manifests, "HTTPRoute")
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert "retry" not in rule, "a request that is asked again is paid for again"
    assert [each["path"] for each in rule["matches"]] == [{"type": "PathPrefix", "value": "/v1/"}]
    (parent,) = route["spec"]["parentRefs"]
    ingress = next(peer for peer in OUTSIDE if peer.name == "ingress")
    assert parent["namespace"] == ingress.namespace, "it comes from where the policy lets it in"
