from typing import Any

import yaml

from grafana.interpolation import SCRAPE_SECONDS
from tests.architecture.source import ROOT

FOLDER = ROOT / "grafana" / "provisioning"


def loaded(path: str) -> Any:
    found = yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))
    assert found["apiVersion"] == 1
    return found


def test_grafana_is_told_of_a_prometheus_and_how_often_it_scrapes() -> None:
    (source,) = loaded("datasources/prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "${PROMETHEUS_URL}"
    assert source["jsonData"]["timeInterval"] == f"{SCRAPE_SECONDS}s"


def test_dashboards_are_looked_for_where_the_guide_puts_them() -> None:
    (provider,) = loaded("dashboards/understudy.yaml")["providers"]
    assert provider["type"] == "file"
    guide = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    assert f"--out {provider['options']['path']} " in guide
