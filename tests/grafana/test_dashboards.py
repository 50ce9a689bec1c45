import json
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.__main__ import BOARDS, FOLDER, as_json, file_name, main, tidied
from tests.grafana.committed import boards, panels

PANELS = panels()
ROOT = Path(__file__).parents[2]
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and name[0] != "_"}
RANGES = {
    "cost": (1, 99),
    "routing": (101, 199),
    "serving": (201, 299),
    "flywheel": (301, 399),
    "objectives": (401, 499),
}

each_board = pytest.mark.parametrize(
    ("name", "board"), list(boards()), ids=[name for name, _ in boards()]
)
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in PANELS], ids=[name for name, _ in PANELS]
)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_committed_json_is_what_the_code_makes(board: Any) -> None:
    committed = (FOLDER / file_name(board)).read_text(encoding="utf-8")
    assert committed == as_json(board), "run ./dev dashboards"


def test_there_are_no_other_dashboards() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {file_name(board) for board in BOARDS}


def test_a_stale_dashboard_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 0
    (tmp_path / "cost.json").write_text("{}")
    (tmp_path / "serving.json").unlink()
    assert main(["--out", str(tmp_path), "--check"]) == 1
    told = capsys.readouterr().err
    assert "cost.json" in told
    assert "serving.json" in told
    assert "routing.json" not in told


def test_links_begin_where_it_is_told(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--runbook-base", "https://docs.example/understudy"])
    board = json.loads((tmp_path / "cost.json").read_text())
    (base,) = [each for each in board["templating"]["list"] if each["name"] == "runbook_base"]
    assert base["query"] == base["current"]["value"] == "https://docs.example/understudy"


@each_board
def test_the_sdk_reads_all_that_it_wrote(name: str, board: dict[str, Any]) -> None:
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert tidied(again) == board


@each_board
def test_addresses_are_for_good(name: str, board: dict[str, Any]) -> None:
    assert board["uid"] == f"understudy-{name}"
    low, high = RANGES[name]
    ids = [panel["id"] for panel in board["panels"] if panel["type"] != "row"]
    assert all(low <= each <= high for each in ids)


def test_no_two_panels_have_one_id() -> None:
    for name, board in boards():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids)), name


@pytest.mark.parametrize(
    ("panel_id", "words"),
    [
        (2, "budget"),
        (8, "without a cost"),
        (101, "Escalation rate"),
        (104, "Expected disagreement"),
        (106, "Age of the policy"),
        (201, "Requests"),
        (204, "Left alone"),
        (302, "Journal"),
        (303, "Pairs lost"),
    ],
)
def test_a_panel_that_alerts_link_to_is_about_that(panel_id: int, words: str) -> None:
    (panel,) = [panel for _, panel in PANELS if panel["id"] == panel_id]
    assert words in panel["title"]


@each_board
def test_panels_fill_the_grid_and_do_not_overlap(name: str, board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    bottom = max(y for _, y in taken) + 1
    assert len(taken) == 24 * bottom, "there are holes"


@each_panel
def test_a_panel_says_how_to_read_it_and_what_to_do(panel: dict[str, Any]) -> None:
    reads, told, act = panel["description"].partition("\n\n**What to do.** ")
    assert told
    assert len(reads) > 40
    assert len(act) > 40
    assert reads.rstrip().endswith(".")
    assert act.rstrip().endswith(".")


@each_panel
def test_a_panel_has_a_unit_and_says_why_it_is_empty(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert len(defaults["noValue"]) > 10
    for override in panel["fieldConfig"].get("overrides", []):
        for each in override["properties"]:
            assert each["id"] != "unit" or each["value"] in UNITS


@each_panel
def test_a_panel_asks_the_chosen_prometheus_and_no_more_often_than_it_scrapes(
    panel: dict[str, Any],
) -> None:
    asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in asked)
    assert panel["interval"] == "30s"
    assert all("interval" not in target for target in panel["targets"])


@each_panel
def test_lines_have_a_legend_with_their_last_value(panel: dict[str, Any]) -> None:
    assert all(target["legendFormat"] for target in panel["targets"])
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
        assert "lastNotNull" in panel["options"]["legend"]["calcs"]


@each_board
def test_a_board_can_be_narrowed_and_leads_to_the_others(name: str, board: dict[str, Any]) -> None:
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    for choice in ("namespace", "job", "cascade"):
        assert variables[choice]["multi"]
        assert variables[choice]["includeAll"]
    siblings, guide = board["links"]
    assert siblings["tags"] == board["tags"] == ["understudy"]
    assert siblings["keepTime"]
    assert siblings["includeVars"]
    assert guide["url"].endswith(f"/docs/dashboards.md#{name}")


def _headings(page: Path) -> set[str]:
    lines = page.read_text(encoding="utf-8").splitlines()
    return {
        line.lstrip("# ").lower().replace(" ", "-").replace("`", "")
        for line in lines
        if line.startswith("#")
    }


def test_links_lead_to_headings_that_are_there() -> None:
    for page in ("deploy/runbook.md", "docs/dashboards.md"):
        start = f"${{runbook_base:raw}}/{page}#"
        wanted = {
            link["url"].removeprefix(start)
            for _, board in boards()
            for each in (board, *board["panels"])
            for link in each.get("links", [])
            if link.get("url", "").startswith(start)
        }
        assert wanted
        assert wanted <= _headings(ROOT / page), page
