"""Schemas that no registry has, written down in tests/deploy/crds: what they find, and that they
are what the definitions themselves say."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.custom_resources import (
    WRITTEN,
    faults_by_written,
    given_definitions,
    written_definitions,
)
from tests.deploy.rendering import KUSTOMIZE, Manifest, render

LWS, RAY = "LeaderWorkerSet", "RayCluster"
EXAMPLES = {LWS: "examples/teacher-lws", RAY: "examples/teacher-ray"}


def example(kind: str) -> Manifest:
    (found,) = (each for each in render(KUSTOMIZE / EXAMPLES[kind]) if each["kind"] == kind)
    return copy.deepcopy(found)


def changed(manifest: Manifest, path: str, value: object) -> Manifest:
    """The same with something else at a path; None takes it away."""
    *parents, last = path.split(".")
    at: Any = manifest
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return manifest


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_are_what_is_written_down(kind: str) -> None:
    assert faults_by_written([example(kind)]) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        (LWS, "spec.startupPolicies", "LeaderCreated"),
        (LWS, "spec.startupPolicy", "LeaderStarted"),
        (LWS, "spec.leaderWorkerTemplate.sizes", 2),
        (LWS, "spec.leaderWorkerTemplate.size", "2"),
        (LWS, "spec.leaderWorkerTemplate.restartPolicy", "Always"),
        (LWS, "spec.leaderWorkerTemplate.workerTemplate", None),
        (LWS, "spec.rolloutStrategy.rollingUpdateConfiguration.maxUnavailble", 1),
        (RAY, "spec.headGroupSpecs", {}),
        (RAY, "spec.headGroupSpec.rayStartParams", {"num-gpus": 4}),
        (RAY, "spec.headGroupSpec.template", None),
        (RAY, "spec.rayVersion", 2.6),
        (RAY, "spec.workerGroupSpecs.0.replica", 1),
        (RAY, "spec.workerGroupSpecs.0.minReplicas", "1"),
        (RAY, "spec.workerGroupSpecs.0.groupName", None),
    ],
)
def test_a_misspelt_key_and_a_wrong_value_are_found(kind: str, path: str, value: object) -> None:
    assert len(faults_by_written([changed(example(kind), path, value)])) == 1


def differences(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> Iterator[str]:
    """Where what is written down is not what the definition says.  A newer release may have further
    keys, and further values of one."""
    kinds = [{each["type"] for each in one.get("anyOf", [one])} for one in (ours, theirs)]
    if kinds[0] != kinds[1]:
        yield f"{path}: {kinds[0]} in place of {kinds[1]}"
    for key, holds in (("required", set.__eq__), ("enum", set.__le__)):
        if key in ours and not holds(set(ours[key]), set(theirs.get(key, ()))):
            yield f"{path}: {key} is {ours[key]} in place of {theirs.get(key)}"
    for key, each in ours.get("properties", {}).items():
        if key in theirs.get("properties", {}):
            yield from differences(each, theirs["properties"][key], f"{path}.{key}")
        else:
            yield f"{path}.{key}: there is no such key"
    for key in ("items", "additionalProperties"):
        if key in ours:
            yield from differences(ours[key], theirs.get(key, {"type": None}), f"{path}[]")


def spec_of(definition: Manifest) -> dict[str, Any]:
    (version,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_down_is_what_the_definition_says(kind: str) -> None:
    (ours,) = (each for each in written_definitions() if each["spec"]["names"]["kind"] == kind)
    (theirs,) = (each for each in given_definitions() if each["spec"]["names"]["kind"] == kind)
    assert list(differences(spec_of(ours), spec_of(theirs))) == []


def test_a_schema_that_says_something_else_is_found() -> None:
    theirs = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "string", "enum": ["x", "y"]}, "b": {"type": "integer"}},
    }
    assert list(differences(theirs, theirs)) == []
    wrong = [
        {"type": "object", "required": ["b"], "properties": {}},
        {"type": "object", "required": ["a"], "properties": {"c": {"type": "string"}}},
        {"type": "object", "required": ["a"], "properties": {"b": {"type": "string"}}},
        {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"type": "string", "enum": ["z"]}},
        },
    ]
    assert [len(list(differences(each, theirs))) for each in wrong] == [1] * len(wrong)
