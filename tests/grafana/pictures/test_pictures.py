from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from grafana.pictures.__main__ import main
from grafana.pictures.answers import Answer, Series
from grafana.pictures.page import drawn
from grafana.pictures.shapes import threshold_colour, worded
from grafana.pictures.tables import joined
from tests.grafana.committed import boards
from tests.grafana.pictures.prometheus import answering

NOW = 1_780_000_000.0
MOST_BYTES = 200_000
BOARDS = dict(boards())


def texts(figure: Figure) -> str:
    return "\n".join(each.get_text() for each in figure.texts)


def answered(panel: Mapping[str, Any]) -> Answer:
    """Three series in every query's answer, as many points as its kind has."""
    times = [NOW] if panel["targets"][0]["instant"] else [NOW - 30 * back for back in (2, 1, 0)]
    series = [
        Series(
            target["refId"],
            {"le": str(rank / 4), "cascade": f"cascade-{rank}"},
            f"series {rank}",
            [(at, float(rank % 2)) for at in times],
        )
        for target in panel["targets"]
        for rank in (1, 2, 3)
    ]
    return Answer(series, NOW - 600, NOW)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_is_drawn_with_its_title(name: str) -> None:
    board = BOARDS[name]
    told = texts(drawn(board, answered, NOW))
    assert all(panel["title"] in told for panel in board["panels"])
    assert board["title"] in told
    assert board["panels"][1]["fieldConfig"]["defaults"]["noValue"] not in told


@pytest.mark.parametrize("name", BOARDS)
def test_a_panel_without_data_says_why(name: str) -> None:
    board = BOARDS[name]
    told = texts(drawn(board, lambda _: Answer([], NOW - 600, NOW), NOW)).replace("\n", " ")
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["fieldConfig"]["defaults"]["noValue"] in told for panel in panels)


def test_a_value_takes_the_colour_and_the_word_of_its_threshold() -> None:
    panels = {panel["id"]: panel for panel in BOARDS["routing"]["panels"]}
    fitted, age = panels[111], panels[106]
    assert (worded(fitted, 1.0), worded(fitted, 0.0)) == ("fitted", "uncalibrated")
    assert worded(age, 86400.0) == "1 days"
    colours = [threshold_colour(age, days * 86400.0) for days in (1, 30, 89, 90)]
    assert len(set(colours)) == 3
    assert colours[1] == colours[2]


def test_a_table_joins_its_queries_by_their_labels() -> None:
    (panel,) = (each for each in BOARDS["cost"]["panels"] if each["id"] == 13)
    series = [
        Series("A", {"cascade": "b"}, "", [(NOW, 2.0)]),
        Series("A", {"cascade": "a"}, "", [(NOW, 1.0)]),
        Series("B", {"cascade": "a"}, "", [(NOW, 3.0)]),
    ]
    labels, columns, rows = joined(panel, series)
    assert labels == ["cascade"]
    assert columns[:2] == ["Paid", "Teacher alone"]
    assert rows == [
        (("a",), {"Paid": 1.0, "Teacher alone": 3.0}),
        (("b",), {"Paid": 2.0}),
    ]


def test_the_command_draws_every_dashboard_into_a_small_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering([]) as prometheus:
        assert main(["--prometheus", prometheus.url, "--out", str(tmp_path)]) == 0
    pictures = sorted(tmp_path.iterdir())
    assert [each.name for each in pictures] == [f"dashboard-{name}.png" for name in sorted(BOARDS)]
    assert capsys.readouterr().out.splitlines() == [str(each) for each in pictures]
    for each in pictures:
        assert each.stat().st_size < MOST_BYTES
        with Image.open(each) as picture:
            assert picture.width > 1000


def test_without_a_prometheus_there_are_no_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--prometheus", "http://127.0.0.1:1", "--out", str(tmp_path)]) == 1
    assert "no pictures" in capsys.readouterr().err
