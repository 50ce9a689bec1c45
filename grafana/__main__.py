"""``python -m grafana``: write the dashboards' JSON, or say whether it is what the code makes."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import cost, flywheel, objectives, routing, serving
from grafana.boards import RUNBOOK_BASE, Board, dashboard

BOARDS = (cost.BOARD, routing.BOARD, objectives.BOARD, serving.BOARD, flywheel.BOARD)
FOLDER = Path(__file__).parent / "dashboards"


def file_name(board: Board) -> str:
    """The dashboard's file in a folder of dashboards."""
    return f"{board.uid.removeprefix('understudy-')}.json"


def as_json(board: Board, runbook_base: str = RUNBOOK_BASE) -> str:
    """The dashboard as Grafana reads it, the same text whenever the code is the same."""
    written = json.loads(JSONEncoder().encode(dashboard(board, runbook_base)))
    return json.dumps(tidied(written), indent=2, sort_keys=True) + "\n"


def tidied(board: dict[str, Any]) -> dict[str, Any]:
    """A dashboard without what the SDK puts in unasked and Grafana 13 has no place for: settings of
    other kinds of variable, a table's footer.  Links stand beside the title, not in a menu."""
    for variable in board["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    for panel in board["panels"]:
        if panel["type"] == "table":
            panel["options"].pop("footer", None)
    for link in (link for each in (board, *board["panels"]) for link in each.get("links", ())):
        link.pop("placement", None)
    return board


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(prog="dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="where files are")
    parser.add_argument(
        "--runbook-base",
        default=RUNBOOK_BASE,
        metavar="URL",
        help="where deploy/ and docs/ can be read; links to the runbook begin with it",
    )
    options = parser.parse_args(arguments)
    stale = []
    for board in BOARDS:
        path, text = options.out / file_name(board), as_json(board, options.runbook_base)
        if not options.check:
            options.out.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
    for each in stale:
        sys.stderr.write(f"{each} is not what the code makes: run ./dev dashboards\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
