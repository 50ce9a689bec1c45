"""The components `production` and `doctor`: who comes first, and what waits for nobody."""

from tests.deploy.manifests import of_kind, pods, quantity
from tests.deploy.rendering import Combination, Manifest

GPU = Combination("overlays/gpu")


def classes() -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in of_kind(GPU.manifests, "PriorityClass")}


def test_batch_work_never_takes_the_place_of_what_serves() -> None:
    serving = [pod for pod in pods(GPU.manifests) if not pod.runs_to_its_end]
    batch = [pod for pod in pods(GPU.manifests) if pod.runs_to_its_end]
    assert {pod.spec["priorityClassName"] for pod in serving} == {"understudy-serving"}
    assert len(batch) > len(serving)
    for pod in batch:
        own = classes()[pod.spec["priorityClassName"]]
        assert own["preemptionPolicy"] == "Never", "it evicts nobody"
        assert own["value"] < 0 < classes()["understudy-serving"]["value"], "and gives way to all"


def test_drains_go_on_however_many_replicas_there_are() -> None:
    budgets = list(of_kind(GPU.manifests, "PodDisruptionBudget"))
    assert {each["metadata"]["name"] for each in budgets} == {"gateway", "student", "teacher"}
    for each in budgets:
        assert each["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in each["spec"]


def test_a_gateway_has_a_core_to_itself_and_is_never_asked_to_give_memory_back() -> None:
    (gateway,) = (pod for pod in pods(GPU.manifests) if pod.where == "StatefulSet/gateway")
    given = gateway.containers[0].spec["resources"]
    assert quantity(given["requests"]["cpu"]) >= 1
    assert given["requests"]["memory"] == given["limits"]["memory"]


def test_the_doctor_sees_what_the_gateway_sees() -> None:
    found = {pod.where: pod for pod in pods(GPU.manifests)}
    doctor, gateway = found["CronJob/doctor"], found["StatefulSet/gateway"]
    (own,), (its,) = doctor.containers, gateway.containers
    assert own.spec["env"] == its.spec["env"]
    assert own.spec["image"] == its.spec["image"]
    mounted = {mount["mountPath"] for mount in its.spec["volumeMounts"]}
    assert {mount["mountPath"] for mount in own.spec["volumeMounts"]} == mounted
    named = {volume["name"]: volume for volume in doctor.spec["volumes"]}
    for volume in gateway.spec["volumes"]:
        if volume["name"] != "tmp":
            assert named[volume["name"]] == volume


def test_no_check_stands_between_a_gateway_and_its_start() -> None:
    (gateway,) = (pod for pod in pods(GPU.manifests) if pod.where == "StatefulSet/gateway")
    assert not gateway.spec.get("initContainers")
    assert not gateway.containers[0].spec.get("lifecycle")
