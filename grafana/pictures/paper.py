"""Paper, pixels and words: what every panel's drawing draws on."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

DOTS = 100
COLUMNS = 24
COLUMN, ROW = 60, 34  # pixels of a cell of the grid
GAP = 8
HEADER = 56

PAPER, CARD, EDGE, INK, FAINT = "#f4f5f5", "#ffffff", "#d8d9da", "#24292e", "#6e7781"


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture in pixels from its top left."""

    left: float
    top: float
    width: float
    height: float

    def within(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """What is left of it without its margins."""
        return Box(
            self.left + left,
            self.top + top,
            max(self.width - left - right, 1),
            max(self.height - top - bottom, 1),
        )


class Page:
    """One picture in the making."""

    def __init__(self, rows: int) -> None:
        self._width = COLUMNS * COLUMN + GAP
        self._height = rows * ROW + HEADER + GAP
        self.figure = Figure((self._width / DOTS, self._height / DOTS), dpi=DOTS, facecolor=PAPER)
        FigureCanvasAgg(self.figure)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Write from a point on, in pixels."""
        full: dict[str, Any] = {"va": "top", "color": INK, "fontsize": 8, **style}
        self.figure.text(left / self._width, 1 - top / self._height, text, **full)

    def axes(self, box: Box) -> Axes:
        """Something to draw in."""
        return self.figure.add_axes((
            box.left / self._width,
            1 - (box.top + box.height) / self._height,
            box.width / self._width,
            box.height / self._height,
        ))  # fmt: skip

    def card(self, box: Box) -> None:
        """The white ground of a panel."""
        self.figure.add_artist(
            Rectangle(
                (box.left / self._width, 1 - (box.top + box.height) / self._height),
                box.width / self._width,
                box.height / self._height,
                transform=self.figure.transFigure,
                facecolor=CARD,
                edgecolor=EDGE,
                linewidth=0.8,
                zorder=-1,
            )
        )
