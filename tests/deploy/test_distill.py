"""The component `distill`: jobs that hand on to each other, and start nothing by being applied."""

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from gateway.cascades import load_cascades
from tests.deploy.manifests import Container, Pod, containers, of_kind, pods
from tests.deploy.rendering import KUSTOMIZE, Combination
from tests.deploy.test_commands import variables, with_values
from understudy.telling import CANNOT

GPU = Combination("overlays/gpu")
TRAINING_NODES = Combination("overlays/gpu", ("examples/train-kubeflow",))
# In the order of the work.
STEPS = ("base", "export", "curate", "train", "measure", "promote")
STEP = "understudy/step"
WRITTEN_TO = ("--out", "--local-dir")
# What people bring: questions whose answers tell whether the next student is better.
BROUGHT = {"/data/questions.jsonl"}


def step(name: str) -> Pod:
    (found,) = (pod for pod in pods(GPU.manifests) if pod.labels.get(STEP) == name)
    return found


def words(container: Container) -> list[str]:
    return with_values(container.words, variables(container, GPU.manifests))


def test_applying_it_starts_nothing_but_the_nightly_export() -> None:
    jobs = [
        each for each in of_kind(GPU.manifests, "CronJob") if "doctor" not in str(each["metadata"])
    ]
    running = [job["metadata"]["name"] for job in jobs if not job["spec"].get("suspend")]
    assert len(jobs) == len(STEPS)
    assert running == ["pairs-export"]
    (training,) = of_kind(TRAINING_NODES.manifests, "TrainJob")
    assert training["spec"]["suspend"] is True


def test_each_step_reads_what_one_before_it_wrote() -> None:
    there = set(BROUGHT)
    for name in STEPS:
        for container in step(name).containers:
            options = dict(
                word.split("=", 1)
                for word in words(container)
                if word.startswith("--") and "=" in word
            )
            read = {
                value
                for option, value in options.items()
                if option not in WRITTEN_TO and value.startswith(("/data", "/adapters"))
            }
            unknown = {path for path in read if not any(is_in(path, each) for each in there)}
            assert not unknown, f"{container.where} reads {unknown}, there are {there}"
            there |= {value for option, value in options.items() if option in WRITTEN_TO}
            there |= {word for word in words(container) if word == "/data/pairs"}


def is_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def test_a_step_can_write_where_it_writes_and_nowhere_else() -> None:
    writable = {
        name: {
            mount["mountPath"]
            for container in step(name).containers
            for mount in container.spec["volumeMounts"]
            if not mount.get("readOnly") and mount["name"] in ("data", "adapters")
        }
        for name in STEPS
    }
    assert writable == {
        "base": {"/data"},
        "export": {"/data"},
        "curate": {"/data"},
        "train": {"/adapters"},
        "measure": {"/data", "/adapters"},
        "promote": set(),
    }


def student() -> Pod:
    (found,) = (pod for pod in pods(GPU.manifests) if pod.where == "StatefulSet/student")
    return found


def claimed(pod: Pod, path: str) -> str:
    """The volume that is mounted there."""
    mounts = {each["mountPath"]: each["name"] for each in pod.containers[0].spec["volumeMounts"]}
    (volume,) = (each for each in pod.spec["volumes"] if each["name"] == mounts[path])
    name: str = volume["persistentVolumeClaim"]["claimName"]
    return name


def test_training_writes_adapters_where_students_look_for_them() -> None:
    looked_at = student().containers[0].values["VLLM_LORA_RESOLVER_CACHE_DIR"]
    (out,) = step("train").containers[0].option("out")
    assert out.startswith(f"{looked_at}/")
    assert claimed(step("train"), looked_at) == claimed(student(), looked_at)


def test_a_candidate_is_promoted_where_the_student_is() -> None:
    (promote,) = step("promote").containers
    served = cascades()["cascades"]["assistant"]["student"]["base_url"]
    assert promote.option("student-url") == (served,)


def cascades() -> dict[str, Any]:
    """As the gateways and the jobs have them."""
    (text,) = (
        each["data"]["cascades.yaml"]
        for each in of_kind(GPU.manifests, "ConfigMap")
        if each["metadata"]["name"].startswith("gateway-config")
    )
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_whoever_reads_the_cascades_reads_the_policies_that_they_name() -> None:
    named = {"configMapGenerator": [{"name": "gateway-policies", "literals": ["a.json={}"]}]}
    manifests = Combination("overlays/gpu", more=json.dumps(named)).manifests
    readers = {
        container.where: {
            mounted_from(container, mount) for mount in container.spec["volumeMounts"]
        }
        for container in containers(manifests)
        if container.option("config") == ("/etc/understudy/cascades.yaml",)
        or container.spec["name"] in ("gateway", "doctor")
    }
    assert len(readers) == 6
    for where, mounted in readers.items():
        (made,) = (name for path, name in mounted if path == "/etc/understudy/policies")
        assert made.startswith("gateway-policies-"), f"{where}: {made} is no ConfigMap of these"


def mounted_from(container: Container, mount: dict[str, Any]) -> tuple[str, str]:
    """Where a mount is, and the ConfigMap that is mounted there, if it is one."""
    volumes = {each["name"]: each for each in container.pod.spec["volumes"]}
    source = volumes.get(mount["name"], {}).get("configMap", {})
    return mount["mountPath"], source.get("name", "")


def test_a_training_that_is_pushed_out_has_not_failed_and_one_that_cannot_start_has() -> None:
    (job,) = (e for e in of_kind(GPU.manifests, "CronJob") if e["metadata"]["name"] == "train")
    ignore, fail = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], ignore["onPodConditions"]) == (
        "Ignore",
        [{"type": "DisruptionTarget", "status": "True"}],
    )
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [CANNOT])
    assert step("train").spec["restartPolicy"] == "Never", "such a policy is refused otherwise"


def test_a_promotion_is_never_tried_again_by_itself() -> None:
    (job,) = (e for e in of_kind(GPU.manifests, "CronJob") if e["metadata"]["name"] == "promote")
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


@pytest.fixture
def candidate() -> ModuleType:
    """The script that the job `measure` runs, as it is mounted."""
    path = KUSTOMIZE / "components/distill/candidate.py"
    spec = importlib.util.spec_from_file_location("candidate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WEIGHTS = b"as good as any"
VERSION = f"qwen3-4b-instruct-2507-g1-{hashlib.sha256(WEIGHTS).hexdigest()[:12]}"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What `understudy distill train` leaves, as far as it matters here."""
    generation = tmp_path / "adapters/g1"
    (generation / "adapter").mkdir(parents=True)
    (generation / "card.json").write_text(json.dumps({"version": VERSION}))
    (generation / "adapter/adapter_model.safetensors").write_bytes(WEIGHTS)
    config = {"peft_type": "LORA", "base_model_name_or_path": "/data/models/base", "r": 16}
    (generation / "adapter/adapter_config.json").write_text(json.dumps(config))
    return generation


def found_by_vllm(cache: Path, name: str, base_model: str) -> Path | None:
    """Where vLLM looks for an adapter (vllm/plugins/lora_resolvers/filesystem_resolver.py)."""
    path = Path(os.path.realpath(cache / name))
    if not path.is_relative_to(os.path.realpath(cache)) or not path.exists():
        return None
    config: dict[str, Any] = json.loads((path / "adapter_config.json").read_bytes())
    is_ours = config["peft_type"] == "LORA" and config["base_model_name_or_path"] == base_model
    return path if is_ours else None


def run(candidate: ModuleType, generation: Path) -> Path:
    """The script with the job's own arguments, its paths below a folder of the test's."""
    (publish,) = (each for each in step("measure").containers if each.spec["name"] == "publish")
    root = generation.parents[1]
    (root / "etc/understudy").mkdir(parents=True, exist_ok=True)
    document = cascades()
    document["cascades"]["assistant"]["policy"] = "policies/the-incumbents.json"
    (root / "etc/understudy/cascades.yaml").write_text(yaml.safe_dump(document))
    candidate.main([word.replace("=/", f"={root}/") for word in words(publish)[2:]])
    return root


def test_the_students_vllm_finds_the_candidate_by_its_version(
    candidate: ModuleType, trained: Path
) -> None:
    base_model = student().containers[0].words[2]
    assert found_by_vllm(trained.parent, VERSION, base_model) is None
    for _ in range(2):  # a second try of the job
        run(candidate, trained)
        assert found_by_vllm(trained.parent, VERSION, base_model) == trained / "adapter"


def test_the_candidates_configuration_asks_the_candidate_and_is_valid(
    candidate: ModuleType, trained: Path
) -> None:
    root = run(candidate, trained)
    (loaded,) = load_cascades(root / "data/g1/candidate.yaml", lambda _: "a-key")
    assert loaded.name == "assistant"
    assert (loaded.config.student.model, loaded.config.student.version) == (VERSION, VERSION)
    assert loaded.config.policy is None


def test_other_weights_than_the_version_names_are_not_served(
    candidate: ModuleType, trained: Path
) -> None:
    (trained / "adapter/adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(ValueError, match="the weights have the SHA-256"):
        run(candidate, trained)
    assert not (trained.parent / VERSION).exists()
