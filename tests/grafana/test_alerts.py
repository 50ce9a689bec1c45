import re

import yaml

from tests.architecture.source import ROOT
from tests.grafana.committed import boards

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PLACE = re.compile(r"/d/(?P<uid>[\w-]+)\?viewPanel=(?P<id>\d+)")


def test_whoever_follows_an_alert_to_its_panel_finds_its_runbook_there() -> None:
    panels = {
        (board["uid"], str(panel["id"])): panel
        for _, board in boards()
        for panel in board["panels"]
    }
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    assert alerts
    lost = []
    for alert in alerts:
        place = PLACE.match(alert["annotations"]["dashboard_url"])
        assert place, alert["alert"]
        heading = alert["annotations"]["runbook_url"].partition("#")[2]
        links = panels[place["uid"], place["id"]].get("links", ())
        if not any(link["url"].endswith(f"runbook.md#{heading}") for link in links):
            lost.append(f"{alert['alert']}: {place[0]} has no link to {heading}")
    assert not lost, "\n".join(lost)
