"""Custom resources are what their own definitions take, key by key."""

import json

import pytest

from tests.deploy.custom_resources import (
    PACKAGES,
    WRITTEN,
    faults_by_definitions,
    faults_by_models,
    faults_by_packages,
    faults_by_written,
    group_of,
    is_custom,
    validators_of,
)
from tests.deploy.documented import EVERY
from tests.deploy.rendering import Manifest

ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "a"},
    "spec": {"rules": [{"backendRefs": [{"name": "gateway", "port": 80}]}]},
}
SCALED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "a"},
    "spec": {"scaleTargetRef": {"name": "a"}, "triggers": [{"type": "cpu", "metadata": {}}]},
}
MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "a"},
    "spec": {"selector": {}, "endpoints": [{"port": "ops"}]},
}


def all_custom() -> list[Manifest]:
    """Those of every rendering, each once."""
    found = (manifest for each in EVERY for manifest in each.manifests if is_custom(manifest))
    return [json.loads(text) for text in sorted({json.dumps(each) for each in found})]


def test_custom_resources_are_valid_by_the_packages_that_know_them() -> None:
    found = faults_by_packages(all_custom())
    assert not found, "\n".join(found)


def test_every_other_one_is_valid_by_kubeflows_models_or_by_what_is_written_down() -> None:
    others = [each for each in all_custom() if not PACKAGES[group_of(each)]]
    written = [each for each in others if each["kind"] in WRITTEN]
    found = faults_by_written(written)
    found += faults_by_models([each for each in others if each not in written])
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"suspend": "true"},
        {"suspended": True},
        {"runtimeRef": {"kind": "TrainingRuntime"}},
        {"trainer": {"numNode": 2}},
        {"trainer": {"numNodes": "2"}},
        {"trainer": {"args": "distill"}},
    ],
)
def test_kubeflows_models_notice_what_is_wrong(changes: dict[str, object]) -> None:
    (job,) = (each for each in all_custom() if each["kind"] == "TrainJob")
    assert len(faults_by_models([with_spec(job, **changes)])) == 1


def test_custom_resources_are_valid_by_the_definitions_of_the_cluster() -> None:
    found = faults_by_definitions(all_custom())
    assert not found, "\n".join(found)


def with_spec(manifest: Manifest, **changed: object) -> Manifest:
    return manifest | {"spec": manifest["spec"] | changed}


def test_the_packages_notice_what_is_wrong() -> None:
    wrong = {
        "an unknown key": with_spec(ROUTE, rule=[]),
        "a key of a key": with_spec(ROUTE, rules=[{"timeouts": {"requests": "0s"}}]),
        "a wrong pattern": with_spec(ROUTE, rules=[{"timeouts": {"request": "for ever"}}]),
        "no trigger": with_spec(SCALED, triggers="cpu"),
        "a wrong type": with_spec(SCALED, minReplicaCount="0"),
        "nothing to monitor": with_spec(MONITOR, endpoints={}),
        "no such kind": ROUTE | {"kind": "HTTPRoad"},
    }
    named = [each | {"metadata": {"name": f"n{n}"}} for n, each in enumerate(wrong.values())]
    found = faults_by_packages([ROUTE, SCALED, MONITOR, *named])
    told = {place for place in range(len(named)) for fault in found if f"/n{place}:" in fault}
    assert [name for n, name in enumerate(wrong) if n not in told] == []
    assert not [fault for fault in found if "/a:" in fault]


DEFINITION = {
    "spec": {
        "group": "example.org",
        "names": {"kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer"},
                                    "labels": {
                                        "type": "object",
                                        "additionalProperties": {"type": "string"},
                                    },
                                    "any": {
                                        "type": "object",
                                        "properties": {"known": {"type": "string"}},
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                    "parts": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "properties": {"name": {"type": "string"}},
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("spec", "is_valid"),
    [
        ({"size": 1, "labels": {"a": "b"}, "any": {"thing": 1}, "parts": [{"name": "a"}]}, True),
        ({"size": "1"}, False),
        ({}, False),
        ({"size": 1, "sise": 1}, False),
        ({"size": 1, "labels": {"a": 1}}, False),
        ({"size": 1, "parts": [{"nam": "a"}]}, False),
    ],
)
def test_a_definition_is_read_strictly(spec: dict[str, object], is_valid: bool) -> None:
    ((known, validator),) = validators_of(DEFINITION)
    assert known == ("example.org/v1", "Thing")
    manifest = {"apiVersion": "example.org/v1", "kind": "Thing", "spec": spec}
    assert validator.is_valid(manifest) is is_valid
