"""Custom resources by their own schemas, which no release of Kubernetes has.

Where ``./dev test`` could install the npm packages of tests/deploy/crds, these know three groups.
Their validators let unknown keys pass and their types do not, so both are asked.  Kubeflow's models
are a wheel of requirements/tools.txt.  Of two kinds no registry has anything: what our examples use
of them is written down beside the packages.  Where ``UNDERSTUDY_TEST_CRDS`` names a folder of
CustomResourceDefinitions, these are asked too, for all groups.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.deploy.manifests import name_of
from tests.deploy.rendering import Manifest

# The groups of custom resources that our manifests may use, and the npm package that knows them.
PACKAGES = {
    "gateway.networking.k8s.io": "gateway-api",
    "keda.sh": "keda",
    "leaderworkerset.x-k8s.io": None,
    "monitoring.coreos.com": "prometheus-operator",
    "ray.io": None,
    "trainer.kubeflow.org": None,
}
CRDS = "UNDERSTUDY_TEST_CRDS"
INSTALLED = Path(sys.prefix) / "crds"
VALIDATE = Path(__file__).with_name("crds") / "validate.mjs"
# Kinds of which no registry has the definition, and where it is written down.
WRITTEN = {
    "LeaderWorkerSet": "leaderworkerset.yaml",
    "RayCluster": "raycluster.yaml",
}


def group_of(manifest: Manifest) -> str:
    return str(manifest["apiVersion"]).partition("/")[0]


def is_custom(manifest: Manifest) -> bool:
    return group_of(manifest) in PACKAGES


def faults_by_packages(manifests: Sequence[Manifest]) -> list[str]:
    """What the npm packages find in manifests of the groups that they know."""
    if shutil.which("node") is None or not (INSTALLED / "node_modules").is_dir():
        pytest.skip("there is no npm, or it could install nothing: custom resources are not tested")
    known = [each for each in manifests if PACKAGES[group_of(each)]]
    missing = [each for each in known if not _module(each).exists()]
    present = [each for each in known if each not in missing]
    return [
        *(f"{name_of(each)}: there is no such kind in {each['apiVersion']}" for each in missing),
        *_faults_of_values(present),
        *_faults_of_keys(present),
    ]


def _module(manifest: Manifest) -> Path:
    package = f"@kubernetes-models/{PACKAGES[group_of(manifest)]}"
    return Path(
        INSTALLED, "node_modules", package, manifest["apiVersion"], f"{manifest['kind']}.js"
    )


def _faults_of_values(manifests: Sequence[Manifest]) -> Iterator[str]:
    asked = [{"module": str(_module(each)), "manifest": each} for each in manifests]
    made = subprocess.run(
        ["node", str(VALIDATE)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    for manifest, messages in zip(manifests, json.loads(made.stdout), strict=True):
        yield from (f"{name_of(manifest)}: {message}" for message in messages)


def _faults_of_keys(manifests: Sequence[Manifest]) -> Iterator[str]:
    """What TypeScript says of the manifests as values of their types, one file each."""
    with tempfile.TemporaryDirectory(dir=INSTALLED) as folder:
        files = {f"{place}.ts": manifest for place, manifest in enumerate(manifests)}
        for file, manifest in files.items():
            Path(folder, file).write_text(_as_typed(manifest))
        made = subprocess.run(
            [
                str(INSTALLED / "node_modules/.bin/tsc"),
                *("--noEmit", "--strict", "--skipLibCheck", "--pretty", "false"),
                *("--module", "nodenext", "--target", "es2022", "--types", ""),
                *files,
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    told = made.stdout.splitlines()
    assert made.returncode == 0 or told, made.stderr
    for line in told:
        found = re.match(r"(\d+\.ts)\(\d+,\d+\): (.*)", line)
        yield f"{name_of(files[found[1]])}: {found[2]}" if found else line


def _as_typed(manifest: Manifest) -> str:
    module = _module(manifest).relative_to(INSTALLED / "node_modules").with_suffix("")
    kind = f"I{manifest['kind']}"
    written = json.dumps(manifest, indent=1)
    return f'import type {{ {kind} }} from "{module}";\nexport const it: {kind} = {written};\n'


def faults_by_models(manifests: Sequence[Manifest]) -> list[str]:
    """What Kubeflow's models find: values that they do not take, and keys that they do not give
    back."""
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason="requirements/tools.txt is not installed"
    )
    found = []
    for manifest in manifests:
        group, _, version = manifest["apiVersion"].partition("/")
        prefix = group.partition(".")[0].capitalize() + version.capitalize()
        try:
            given = getattr(models, f"{prefix}{manifest['kind']}").from_dict(manifest).to_dict()
        except AttributeError:
            found.append(f"{name_of(manifest)}: there is no such kind in {manifest['apiVersion']}")
        except ValueError as error:
            found.append(f"{name_of(manifest)}: {error}")
        else:
            found += (f"{name_of(manifest)}: {path}" for path in _lost(manifest, given))
    return found


def _lost(asked: Any, given: Any, path: str = "") -> Iterator[str]:
    """Where the one has something that the other has not."""
    if isinstance(asked, dict) and isinstance(given, dict):
        for key, value in asked.items():
            if key in given:
                yield from _lost(value, given[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: there is no such key"
    elif isinstance(asked, list) and isinstance(given, list) and len(asked) == len(given):
        for place, (one, other) in enumerate(zip(asked, given, strict=True)):
            yield from _lost(one, other, f"{path}.{place}")
    elif asked != given:
        yield f"{path}: {asked!r} is read as {given!r}"


def faults_by_written(manifests: Sequence[Manifest]) -> list[str]:
    """What is found by the definitions that are written down here."""
    validators = {
        known: validator
        for definition in written_definitions()
        for known, validator in validators_of(definition)
    }
    return list(_faults(manifests, validators))


def written_definitions() -> list[Manifest]:
    """Those of the kinds that no registry knows."""
    texts = [VALIDATE.with_name(file).read_bytes() for file in WRITTEN.values()]
    return [yaml.load(text, Loader=yaml.CSafeLoader) for text in texts]


def faults_by_definitions(manifests: Sequence[Manifest]) -> list[str]:
    """What the CustomResourceDefinitions in the folder find, unknown keys included."""
    validators = {
        known: validator
        for definition in given_definitions()
        for known, validator in validators_of(definition)
    }
    return list(_faults(manifests, validators))


def _faults(
    manifests: Sequence[Manifest], validators: Mapping[tuple[str, str], jsonschema_rs.Validator]
) -> Iterator[str]:
    for manifest in manifests:
        validator = validators.get((manifest["apiVersion"], manifest["kind"]))
        if validator is None:
            yield f"{name_of(manifest)}: nothing defines it"
            continue
        for error in validator.iter_errors(manifest):
            path = ".".join(map(str, error.instance_path))
            yield f"{name_of(manifest)}: {path}: {error.message}"


def given_definitions() -> Sequence[Manifest]:
    """The CustomResourceDefinitions in the folder; without one the test is skipped."""
    folder = os.environ.get(CRDS)
    if not folder:
        pytest.skip(f"{CRDS} names no folder of CustomResourceDefinitions")
    return _definitions(Path(folder))


@cache
def _definitions(folder: Path) -> Sequence[Manifest]:
    return [
        definition
        for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml")))
        for document in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader)
        for definition in definitions_in(document)
    ]


def definitions_in(document: Any) -> Iterator[Manifest]:
    """A document that is one, or a list of them as `kubectl get` writes it."""
    if isinstance(document, dict):
        for each in (document, *(document.get("items") or ())):
            if each.get("kind") == "CustomResourceDefinition":
                yield each


def validators_of(
    definition: Manifest,
) -> Iterator[tuple[tuple[str, str], jsonschema_rs.Validator]]:
    """A validator for each version of a kind, by `apiVersion` and `kind`."""
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        api_version = f"{spec['group']}/{version['name']}"
        yield (api_version, spec["names"]["kind"]), jsonschema_rs.validator_for(schema)


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema that refuses unknown keys, which the API server drops silently."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {key: closed(each) for key, each in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = closed(made[key])
    return made
