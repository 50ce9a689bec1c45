"""``python -m bench.promise``: what the promise on kept drafts holds and costs, simulated.

Prints the tables of docs/promise.md, or writes them into the page between their marks, and draws
the pictures.  The public data sets are no part of the project: without them their rows are missing.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.promise_tables import AUDITS, DEFAULT, FEW, TABLES, Study
from bench.public_sets import OPTION_PAIRS, option_logits
from evaluation.promise.controls import Naive
from evaluation.promise.pictures import Told, draw_by_audit, draw_over_time, draw_risk
from evaluation.promise.runs import Maker, Size, simulate
from evaluation.promise.summary import Curves, curves_of
from evaluation.promise.traffic import Traffic, bumped, options_pair, ranked

RUNS = 400
_BLOCK = re.compile(r"(<!-- promise: (\w+) -->\n).*?(<!-- promise end -->)", re.DOTALL)
_SYNTHETIC = ((0.3, 0.75), (0.3, 0.8), (0.3, 0.85), (0.3, 0.9), (0.2, 0.8), (0.2, 0.9),
              (0.4, 0.8), (0.4, 0.9))  # fmt: skip


def populations(folder: Path | None) -> dict[str, Traffic]:
    """All that is simulated, by name; real pairs only from the ``folder`` that holds them."""
    found = {
        f"syn{100 * wrong:.0f}/{f'{auroc:.2f}'[1:]}": ranked(wrong, auroc)
        for wrong, auroc in _SYNTHETIC
    }
    found["bump"] = bumped(0.3, 0.85)
    if folder is not None:
        found |= {name: options_pair(*option_logits(folder, name)) for name in OPTION_PAIRS}
    return found


def filled(text: str, study: Study, names: Sequence[str] = tuple(TABLES)) -> str:
    """The text with each of these blocks made anew.  Raises KeyError for an unknown name."""

    def made(block: re.Match[str]) -> str:
        if block[2] in TABLES and block[2] not in names:
            return block[0]
        return block[1] + "\n".join(TABLES[block[2]](study)) + "\n" + block[3]

    return _BLOCK.sub(made, text)


def draw(study: Study, folder: Path) -> None:
    """All pictures of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    names = study.of([name for name in FEW if name in OPTION_PAIRS]) or study.of(FEW)
    told = {
        name: Told(
            study.traffic[name].oracle(0.05), _curves(study, name), _curves(study, name, 2_000)
        )
        for name in names
    }
    draw_over_time(told, folder / "promise_over_time.png")
    cells = {
        name: [
            {share: study.cell(name, replace(DEFAULT, audit=share, warm=warm)) for share in AUDITS}
            for warm in (0, 2_000)
        ]
        for name in study.of(FEW)
    }
    draw_by_audit(cells, folder / "promise_by_audit.png")
    traffic, size = study.traffic["syn30/.90"], Size(study.runs, seed=1)
    rules: dict[str, Maker] = {
        "the promise": DEFAULT,
        "last 2,000 requests": Naive(window=2_000),
        "all labels so far": Naive(),
    }
    courses = [(name, simulate(traffic, rule, 0.05, size)) for name, rule in rules.items()]
    draw_risk(courses, folder / "promise_risk.png")


def _curves(study: Study, name: str, warm: int = 0) -> Curves:
    design = replace(DEFAULT, warm=warm)
    size = Size(study.runs, seed=2)
    return curves_of(simulate(study.traffic[name], design, design.alpha, size), design.delta)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.promise", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the public files")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each cell (%(default)s)")
    parser.add_argument(
        "--tables",
        nargs="+",
        choices=TABLES,
        default=list(TABLES),
        metavar="NAME",
        help="these alone, of " + ", ".join(TABLES),
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables in there")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw into this folder")
    options = parser.parse_args(arguments)
    try:
        study = Study(populations(options.data), options.runs)
    except FileNotFoundError as error:
        print(f"there is no {error.filename}", file=sys.stderr)
        return 1
    if options.page is not None:
        page = options.page.read_text(encoding="utf-8")
        options.page.write_text(filled(page, study, options.tables), encoding="utf-8")
    else:
        for name in options.tables:
            print(f"\n{name}\n", *TABLES[name](study), sep="\n")
    if options.pictures is not None:
        draw(study, options.pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
