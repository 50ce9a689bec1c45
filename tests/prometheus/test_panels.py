import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.prometheus import checking
from tests.prometheus.panels import PanelQuery, panel_queries

NOON = datetime(2025, 6, 17, 12, tzinfo=UTC).timestamp()
QUERY = PanelQuery(
    ("u", 1, "A"), "", 'rate(x{cascade=~"$cascade"}[$__rate_interval])', {"cascade": ".+"}
)


def panel(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "stat", "title": "T", "targets": [], **more}


def test_all_is_chosen_unless_somebody_chooses() -> None:
    assert QUERY.filled(3600) == 'rate(x{cascade=~".+"}[60s])'
    chosen = QUERY.filled(3600, cascade=["coder.v2", "a"])
    assert chosen == r'rate(x{cascade=~"(coder\\.v2|a)"}[60s])'


def test_variable_that_nobody_defines_is_no_silent_nothing() -> None:
    with pytest.raises(KeyError, match="tenant"):
        PanelQuery(("u", 1, "A"), "", "x{tenant='$tenant'}", {}).filled(3600)


@pytest.mark.parametrize(
    ("earlier", "begin", "end"),
    [
        (None, "2025-06-01T00:00", "2025-06-17T12:00"),
        ("1M/M", "2025-05-01T00:00", "2025-06-01T00:00"),
    ],
)
def test_panel_may_have_a_month_of_its_own(earlier: str | None, begin: str, end: str) -> None:
    query = PanelQuery(("u", 1, "A"), "", "x", {}, period="now/M", earlier=earlier)
    shown = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M") for at in query.shown(NOON)]
    assert shown == [begin, end]


def test_queries_of_folded_rows_are_found(tmp_path: Path) -> None:
    target = {"refId": "A", "expr": "x"}
    row = {"id": 2, "type": "row", "panels": [panel(3, targets=[target])]}
    board = {"uid": "u", "panels": [panel(1, targets=[target]), row]}
    (tmp_path / "u.json").write_text(json.dumps(board))
    assert [query.place for query in panel_queries(tmp_path)] == [("u", 1, "A"), ("u", 3, "A")]


def test_panel_that_nobody_expects_anything_of_fails() -> None:
    with pytest.raises(AssertionError, match="say in"):
        checking.check_panel(None, None, QUERY)  # type: ignore[arg-type] # it asks nobody
