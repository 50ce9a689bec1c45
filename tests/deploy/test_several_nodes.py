"""A teacher on several nodes: its parts fill all GPUs, and its processes agree on the model."""

from collections.abc import Mapping
from math import prod
from typing import Any

import pytest

from tests.deploy.manifests import Container, pods
from tests.deploy.rendering import COMBINATIONS, Manifest, names_of

GPU = "nvidia.com/gpu"
PARTS = ("tensor-parallel-size", "pipeline-parallel-size")
# What only the process that answers HTTP is told, and only the others.
OF_THE_FIRST = {
    "--host=0.0.0.0", "--port=8000", "--served-model-name=qwen3-235b-a22b",
    "--enable-prompt-tokens-details", "--enable-auto-tool-choice", "--tool-call-parser=hermes",
    "--disable-access-log-for-endpoints=/health,/metrics",
}  # fmt: skip
OF_THE_OTHERS = {"--headless"}


def group(example: str, kind: str) -> tuple[Manifest, list[Container]]:
    """The example's custom resource, and its containers: the first answers HTTP."""
    name = f"examples/{example}"
    (combination,) = (each for each in COMBINATIONS if name in each.components)
    (owner,) = (each for each in combination.manifests if each["kind"] == kind)
    return owner, [container for pod in pods([owner]) for container in pod.containers]


def nodes(owner: Mapping[str, Any]) -> int:
    if owner["kind"] == "LeaderWorkerSet":
        return int(owner["spec"]["leaderWorkerTemplate"]["size"])
    return 1 + sum(int(each["replicas"]) for each in owner["spec"]["workerGroupSpecs"])


@pytest.mark.parametrize(
    ("example", "kind"), [("teacher-lws", "LeaderWorkerSet"), ("teacher-ray", "RayCluster")]
)
def test_the_parts_of_the_model_fill_the_gpus_of_all_nodes(example: str, kind: str) -> None:
    assert example in names_of("examples")
    owner, (first, *others) = group(example, kind)
    gpus = {int(each.spec["resources"]["limits"][GPU]) for each in (first, *others)}
    assert len(gpus) == 1, "nodes are alike"
    assert prod(int(first.option(each)[0]) for each in PARTS) == nodes(owner) * gpus.pop()


def test_leader_and_workers_are_told_the_same_of_the_model() -> None:
    _, (leader, worker) = group("teacher-lws", "LeaderWorkerSet")
    assert leader.spec["command"] == worker.spec["command"]
    told, told_workers = set(leader.spec["args"]), set(worker.spec["args"])
    assert told - told_workers == OF_THE_FIRST
    assert told_workers - told == OF_THE_OTHERS
