"""``python -m grafana.pictures``: draw every dashboard from a Prometheus that scrapes gateways."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from grafana.pictures.answers import Prometheus
from grafana.pictures.page import drawn
from grafana.pictures.paper import CARD, PAPER
from grafana.pictures.shapes import COLOURS as INKS

DASHBOARDS = Path(__file__).parents[1] / "dashboards"
MOST_COLOURS = 256
SWATCH = 60
OUT = Path(__file__).parents[2] / "docs" / "pictures"


def draw_all(prometheus: Prometheus, end: float, seconds: float, out: Path) -> list[Path]:
    """Draw each committed dashboard as it is at ``end``, with the ``seconds`` before it."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        figure = drawn(board, lambda panel: prometheus.ask(panel, end, seconds), end)
        written.append(out / f"dashboard-{path.stem}.png")
        _save(figure, written[-1])
    return written


def _save(figure: Figure, path: Path) -> None:
    """As a picture of few colours, which is a third as large and looks the same."""
    raw = BytesIO()
    figure.savefig(raw)
    picture = Image.open(raw).convert("RGB")
    # A colour that is on a few pixels alone, such as that of a breaker, must not be lost.
    swatches = picture.copy()
    for place, colour in enumerate((PAPER, CARD, *INKS.values())):
        swatches.paste(colour, (place * SWATCH, 0, (place + 1) * SWATCH, SWATCH))
    palette = swatches.quantize(MOST_COLOURS)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(
        prog="pictures",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--scrape", type=float, default=15, help="its scrape interval in seconds")
    parser.add_argument("--seconds", type=float, default=3600, help="how much time is shown")
    parser.add_argument("--end", type=float, help="until when, in seconds since 1970; now, if not")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    options = parser.parse_args(arguments)
    end = time.time() if options.end is None else options.end
    try:
        prometheus = Prometheus(options.prometheus, options.scrape)
        written = draw_all(prometheus, end, options.seconds, options.out)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no pictures: {error}\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
