"""What the component `monitoring` has Prometheus and Grafana find."""

import json
from pathlib import Path

import pytest
import yaml

from deploy import rules as command
from tests.deploy.manifests import of_kind, pods, selects
from tests.deploy.rendering import ROOT, Combination, Manifest

GPU = Combination("overlays/gpu")
DASHBOARDS = ROOT / "grafana/dashboards"
# `kubectl apply` writes the whole object into an annotation, which may have so many bytes.
MOST_ANNOTATED_BYTES = 262_144


def the(kind: str, name: str) -> Manifest:
    (found,) = (each for each in of_kind(GPU.manifests, kind) if each["metadata"]["name"] == name)
    return found


def test_the_rules_on_a_cluster_are_those_of_prometheus() -> None:
    assert command.main(["--check"]) == 0
    groups = [
        group
        for name in ("recording", "alerts")
        for group in yaml.safe_load((ROOT / f"deploy/prometheus/{name}.yaml").read_text())["groups"]
    ]
    made = the("PrometheusRule", "understudy")["spec"]["groups"]
    assert [without_breaks(group) for group in made] == [without_breaks(group) for group in groups]


def without_breaks(group: Manifest) -> Manifest:
    """A group with each expression in one line: kustomize adds empty lines to folded texts."""
    rules = [{**rule, "expr": " ".join(rule["expr"].split())} for rule in group["rules"]]
    return {**group, "rules": rules}


def test_stale_rules_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "OUT", tmp_path / "rules.yaml")
    assert command.main(["--check"]) == 1
    assert command.main([]) == 0
    assert command.main(["--check"]) == 0
    (tmp_path / "rules.yaml").write_text("another")
    assert command.main(["--check"]) == 1


@pytest.mark.parametrize("source", ["# no list\n", "other: 1\ngroups:\n  - name: a\n"])
def test_a_file_that_is_more_or_less_than_groups_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="no list of groups"):
        command.prometheus_rule([source])


def test_each_gateway_is_scraped_once_as_the_job_that_alerts_go_by() -> None:
    spec = the("ServiceMonitor", "gateway")["spec"]
    (endpoint,) = spec["endpoints"]
    chosen = [
        service
        for service in of_kind(GPU.manifests, "Service")
        if selects(spec["selector"], service["metadata"]["labels"])
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    ]
    assert [each["metadata"]["labels"][spec["jobLabel"]] for each in chosen] == ["understudy"]


def test_models_are_scraped_under_names_that_no_alert_takes_for_gateways() -> None:
    spec = the("PodMonitor", "models")["spec"]
    chosen = [pod for pod in pods(GPU.manifests) if selects(spec["selector"], pod.labels)]
    jobs = {pod.labels[spec["jobLabel"]]: pod for pod in chosen}
    assert set(jobs) == {"student", "teacher"}
    (endpoint,) = spec["podMetricsEndpoints"]
    for pod in jobs.values():
        assert pod.containers[0].has_port(endpoint["port"])


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_there_for_the_sidecar(path: Path) -> None:
    config = the("ConfigMap", f"understudy-dashboard-{path.stem}")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"]["grafana_folder"] == "Understudy"
    assert config["data"] == {path.name: path.read_text()}
    assert len(json.dumps(config)) < MOST_ANNOTATED_BYTES
