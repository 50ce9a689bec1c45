"""The component `autoscaling` goes by numbers that there are, under the names that they have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.manifests import of_kind, pods
from tests.deploy.rendering import KUSTOMIZE, ROOT, Combination, Manifest
from tests.deploy.test_prometheus import documented, names_in, needs_promtool, promtool
from tests.gateway.telemetry.test_metrics import metrics
from tests.vllm import test_server

SCALED = Combination("overlays/gpu", ("autoscaling",))
ADAPTER = KUSTOMIZE / "components/autoscaling/prometheus-adapter.yaml"
# Of vLLM's metrics; tests/vllm sees them at a real server.
OF_VLLM = {test_server.RUNNING, "vllm:num_requests_waiting"}
# What KEDA's prometheus scaler reads of a trigger (pkg/scalers/prometheus_scaler.go).
REQUIRED = {"serverAddress", "query", "threshold"}
OPTIONAL = {
    "activationThreshold", "authModes", "awsRegion", "customHeaders", "identityOwner",
    "ignoreNullValues", "namespace", "queryParameters", "timeout", "unsafeSsl",
}  # fmt: skip

Trigger = dict[str, Any]


def the(kind: str, name: str) -> Manifest:
    found = of_kind(SCALED.manifests, kind)
    return next(each for each in found if each["metadata"]["name"] == name)


def hpa() -> dict[str, Any]:
    spec: dict[str, Any] = the("HorizontalPodAutoscaler", "gateway")["spec"]
    return spec


def triggers() -> dict[str, Trigger]:
    return {
        f"{scaled['metadata']['name']} {trigger['name']}": trigger
        for scaled in of_kind(SCALED.manifests, "ScaledObject")
        for trigger in scaled["spec"]["triggers"]
    }


def query(name: str) -> str:
    text: str = triggers()[name]["metadata"]["query"]
    return text


def test_gateways_are_scaled_by_a_gauge_that_each_of_them_shows() -> None:
    (name,) = (each["pods"]["metric"]["name"] for each in hpa()["metrics"] if "pods" in each)
    families = text_string_to_metric_families(metrics().exposition().decode())
    (family,) = (each for each in families if each.name == name)
    assert family.type == "gauge"
    assert [sample.labels for sample in family.samples] == [{}], "one number for a pod"


def test_the_adapter_serves_the_metric_that_gateways_are_scaled_by() -> None:
    (rule,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
    (name,) = (each["pods"]["metric"]["name"] for each in hpa()["metrics"] if "pods" in each)
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].partition("{")[0] == name


def test_gateways_go_one_at_a_time_and_no_faster_than_they_drain() -> None:
    down = hpa()["behavior"]["scaleDown"]
    (gateway,) = (pod for pod in pods(SCALED.manifests) if pod.where == "StatefulSet/gateway")
    (policy,) = down["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert policy["periodSeconds"] > gateway.spec["terminationGracePeriodSeconds"]
    assert down["stabilizationWindowSeconds"] > hpa()["behavior"]["scaleUp"].get(
        "stabilizationWindowSeconds", 0
    )


def test_volumes_of_gateways_that_go_stay_with_what_was_not_shipped() -> None:
    policy = the("StatefulSet", "gateway")["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_who_is_scaled_has_no_number_of_replicas_that_an_apply_would_put_back() -> None:
    for name in ("gateway", "student", "teacher"):
        assert "replicas" not in the("StatefulSet", name)["spec"], name
    assert the("StatefulSet", "valkey")["spec"]["replicas"] == 1


def test_the_student_never_sleeps_and_the_teacher_does() -> None:
    assert the("ScaledObject", "student")["spec"]["minReplicaCount"] == 1
    assert the("ScaledObject", "teacher")["spec"]["minReplicaCount"] == 0


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_a_trigger_says_what_the_scaler_reads_and_nothing_else(name: str) -> None:
    own = {each: trigger for each, trigger in triggers().items() if each.startswith(name)}
    assert own
    for trigger in own.values():
        assert trigger["type"] == "prometheus"
        given = trigger["metadata"]
        assert given.keys() >= REQUIRED
        assert given.keys() <= REQUIRED | OPTIONAL
        assert all(isinstance(value, str) for value in given.values())
        assert float(given["threshold"]) > 0
        # A Prometheus that is away, or scrapes nothing, is no sign that nobody is there.
        assert given["ignoreNullValues"] == "false"


def test_queries_ask_for_metrics_that_there_are_under_the_names_that_are_scraped() -> None:
    namespace = the("StatefulSet", "gateway")["metadata"]["namespace"]
    for name, trigger in triggers().items():
        asked = trigger["metadata"]["query"]
        assert names_in(asked) <= documented() | OF_VLLM, name
        for matchers in re.findall(r"\{([^}]*)\}", asked):
            assert f'namespace="{namespace}"' in matchers
        jobs = re.findall(r'job="(\w+)"', asked)
        assert jobs in ([], [name.partition(" ")[0]]), name


# What each query says, of series as Prometheus has them: KEDA reads one number, or none.
SERIES = """
      - series: 'understudy_deferrals_total{namespace="understudy",cascade="a",pod="0"}'
        values: '0x20 1x20'
      - series: 'understudy_deferrals_total{namespace="understudy",cascade="a",pod="1"}'
        values: '7x40'
      - series: 'understudy_deferrals_total{namespace="staging",cascade="a",pod="0"}'
        values: '0+9x40'
      - series: 'vllm:num_requests_running{namespace="understudy",job="student",pod="s0"}'
        values: '30x40'
      - series: 'vllm:num_requests_running{namespace="understudy",job="student",pod="s1"}'
        values: '12x40'
      - series: 'vllm:num_requests_waiting{namespace="understudy",job="student",pod="s0"}'
        values: '5x40'
"""
ANSWERS = [
    ("student running", "10m", SERIES, 42),
    ("student waiting", "10m", SERIES, 5),
    ("teacher running", "10m", SERIES, 0),
    ("teacher waiting", "10m", SERIES, 0),
    ("teacher wanted", "4m", SERIES, 0),
    ("teacher wanted", "6m", SERIES, 1),
    ("teacher wanted", "9m", SERIES, 1),
    ("student running", "10m", "", None),
    ("teacher wanted", "10m", "", None),
]


@needs_promtool
def test_queries_say_what_scaling_goes_by(tmp_path: Path) -> None:
    """A teacher that is not there has no queue; a gateway that nobody scrapes is an error."""
    tests = []
    for name, at, series, answer in ANSWERS:
        samples = [] if answer is None else [{"labels": "{}", "value": answer}]
        case = {"expr": query(name), "eval_time": at, "exp_samples": samples}
        tests.append(
            {
                "interval": "15s",
                "input_series": yaml.safe_load(series) or [],
                "promql_expr_test": [case],
            }
        )
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    promtool("test", "rules", path)


def test_the_page_tells_the_numbers_of_the_manifests() -> None:
    least, most = hpa()["minReplicas"], hpa()["maxReplicas"]
    pods_metric, processor = hpa()["metrics"]
    open_requests = pods_metric["pods"]["target"]["averageValue"]
    share = processor["resource"]["target"]["averageUtilization"]
    page = (ROOT / "deploy/autoscaling.md").read_text()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines()}
    assert f"| {open_requests} open requests in each" in rows["gateways"]
    assert f"; {share}% of a core | {least} | {most} |" in rows["gateways"]
    for name in ("student", "teacher"):
        scaled = the("ScaledObject", name)["spec"]
        running, waiting = (
            triggers()[f"{name} {e}"]["metadata"]["threshold"] for e in ("running", "waiting")
        )
        row = rows[f"{name}s"]
        assert {running, waiting} <= set(re.findall(r"\d+", row))
        assert f"| {scaled['minReplicaCount']} | {scaled['maxReplicaCount']} |" in row
