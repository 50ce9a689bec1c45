"""Every rendering is what the last three minor releases of Kubernetes take, key by key."""

import importlib.metadata
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jsonschema_rs
import pytest

from tests.deploy.custom_resources import is_custom
from tests.deploy.documented import EVERY
from tests.deploy.manifests import Pod, name_of, pods
from tests.deploy.rendering import Combination, Manifest

DISTRIBUTION = "kubernetes-validate"
RELEASES = 3


@dataclass(frozen=True)
class Release:
    """The strict schemas of one minor release: an unknown key is refused."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.name

    def faults(self, manifest: Manifest) -> list[str]:
        validator = _validator(self.folder, manifest["apiVersion"], manifest["kind"])
        if validator is None:
            return [f"{self} has no {manifest['apiVersion']} {manifest['kind']}"]
        where = f"{self}: {name_of(manifest)}"
        return [
            f"{where}: {'.'.join(map(str, error.instance_path))}: {error.message}"
            for error in validator.iter_errors(manifest)
        ]


@cache
def releases() -> tuple[Release, ...]:
    """The last minor releases that the schemas are installed for, oldest first."""
    try:
        files = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed, so manifests are not validated")
    schemas = Path(str(files.locate_file("kubernetes_validate/kubernetes-json-schema")))
    strict = {
        tuple(map(int, found.groups())): folder
        for folder in schemas.iterdir()
        if (found := re.fullmatch(r"v(\d+)\.(\d+)\.\d+-local-strict", folder.name))
    }
    return tuple(Release(strict[minor]) for minor in sorted(strict)[-RELEASES:])


@cache
def _definitions(folder: Path) -> jsonschema_rs.Registry:
    definitions = json.loads((folder / "_definitions.json").read_bytes())
    return jsonschema_rs.Registry([(definitions["$id"], definitions)])


@cache
def _validator(folder: Path, api_version: str, kind: str) -> jsonschema_rs.Validator | None:
    # "rbac.authorization.k8s.io/v1" is "rbac-v1" in a file's name.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = folder / f"{kind.lower()}-{group}.json"
    if not file.exists():
        return None
    schema = json.loads(file.read_bytes())
    return jsonschema_rs.validator_for(schema, registry=_definitions(folder))


@pytest.mark.parametrize("combination", EVERY, ids=str)
def test_a_rendering_is_valid_in_the_last_releases(combination: Combination) -> None:
    found = [
        fault
        for manifest in combination.manifests
        if not is_custom(manifest)
        for release in releases()
        for fault in release.faults(manifest)
    ]
    assert not found, "\n".join(found)


def test_pods_of_custom_resources_are_pods() -> None:
    """What a resource of others makes of them is for its own schema; that they are right is not."""
    found = {
        fault
        for combination in EVERY
        for pod in pods([each for each in combination.manifests if is_custom(each)])
        for fault in faults_of_pod(pod)
    }
    assert not found, "\n".join(found)


def test_a_key_that_no_pod_has_is_found_in_a_custom_resource() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "b:1", "imagePull": "Always"}]}}
    owner = {"kind": "Group", "metadata": {"name": "a"}, "spec": {"workerTemplate": template}}
    (pod,) = pods([owner])
    assert len(faults_of_pod(pod)) == RELEASES


def faults_of_pod(pod: Pod) -> list[str]:
    metadata = {**pod.metadata, "name": f"pod of {pod.where}"}
    alone: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec}
    return [fault for release in releases() for fault in release.faults(alone)]


def test_the_last_three_minor_releases_are_asked() -> None:
    minors = [tuple(map(int, re.findall(r"\d+", str(each))[:2])) for each in releases()]
    assert len(minors) == RELEASES
    (major, last) = minors[-1]
    assert minors == [(major, last - 2), (major, last - 1), (major, last)]


def service(**changed: object) -> Manifest:
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": "http"}], **changed}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec}


def test_what_is_right_passes() -> None:
    assert [release.faults(service()) for release in releases()] == [[]] * RELEASES


@pytest.mark.parametrize(
    "manifest",
    [
        service(port=80),
        service(ports=[{"port": "http"}]),
        service(ports=[{"port": 80, "portName": "http"}]),
        service() | {"kind": "Server"},
        service() | {"apiVersion": "v2"},
        {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}},
    ],
)
def test_what_is_wrong_is_found(manifest: Manifest) -> None:
    assert [bool(release.faults(manifest)) for release in releases()] == [True] * RELEASES
