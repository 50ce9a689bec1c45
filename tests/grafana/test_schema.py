"""Grafana publishes the types of its dashboards for TypeScript: its compiler is the judge."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.committed import boards

FOLDER = os.environ.get("UNDERSTUDY_TEST_GRAFANA_SCHEMA")
NODE = shutil.which("node")

needs_schema = pytest.mark.skipif(
    FOLDER is None or NODE is None,
    reason="no @grafana/schema: say where it is with UNDERSTUDY_TEST_GRAFANA_SCHEMA "
    "(grafana/README.md), and install Node",
)

PANELS = {
    "bargauge": "bargauge",
    "heatmap": "heatmap",
    "stat": "stat",
    "state-timeline": "statetimeline",
    "table": "table",
    "timeseries": "timeseries",
}
WITHOUT_FIELDS = {"bargauge", "stat"}

# An enumeration of TypeScript takes none of its own values as a string: this one does.
PLAIN = """\
type Plain<T> = T extends string ? `${T}` : T extends number ? number : T extends boolean ? boolean
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def _typed(types: str, board: dict[str, Any]) -> Iterator[str]:
    """A dashboard as constants of the types that Grafana gives its parts."""
    panels = board.pop("panels")
    yield f"import type * as core from '{types}/dashboard/x/types.gen';"
    for name in sorted(PANELS.values()):
        yield f"import type * as {name} from '{types}/composable/{name}/panelcfg/x/types.gen';"
    yield PLAIN
    yield f"export const board: Plain<Omit<core.Dashboard, 'panels'>> = {json.dumps(board)};"
    for panel in panels:
        number = panel["id"]
        if panel["type"] == "row":
            yield f"export const row{number}: Plain<core.RowPanel> = {json.dumps(panel)};"
            continue
        name = PANELS[panel["type"]]
        options = json.dumps(panel.pop("options"))
        custom = panel["fieldConfig"]["defaults"].pop("custom", {})
        panel.pop("targets")
        yield f"export const panel{number}: Plain<core.Panel> = {json.dumps(panel)};"
        yield f"export const options{number}: Plain<Partial<{name}.Options>> = {options};"
        if name in WITHOUT_FIELDS:
            assert not custom
        else:
            fields = f"Plain<Partial<{name}.FieldConfig>>"
            yield f"export const fields{number}: {fields} = {json.dumps(custom)};"


def _judged(folder: Path, source: str) -> str:
    """What the compiler says of it; nothing where it is content."""
    assert NODE is not None
    assert FOLDER is not None
    path = folder / "dashboard.ts"
    path.write_text(source, encoding="utf-8")
    compiler = [NODE, str(Path(FOLDER) / "node_modules/typescript/bin/tsc")]
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--types", ""]
    done = subprocess.run(
        [*compiler, *options, "--module", "nodenext", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def _types() -> str:
    assert FOLDER is not None
    return str(Path(FOLDER).resolve() / "node_modules/@grafana/schema/dist/types/raw")


@needs_schema
@pytest.mark.parametrize("name", [name for name, _ in boards()])
def test_grafana_s_own_types_accept_a_dashboard(name: str, tmp_path: Path) -> None:
    board = dict(boards())[name]
    assert _judged(tmp_path, "\n".join(_typed(_types(), board))) == ""


@needs_schema
def test_they_refuse_what_grafana_does_not_know(tmp_path: Path) -> None:
    board = dict(boards())["cost"]
    panel = next(each for each in board["panels"] if each["type"] == "timeseries")
    panel["options"]["legend"]["displayMode"] = "tabel"
    panel["fieldConfig"]["defaults"]["custom"]["lineWith"] = 2
    told = _judged(tmp_path, "\n".join(_typed(_types(), board)))
    assert "tabel" in told
    assert "lineWith" in told
