"""Plots as SVG inside a page: text stays text, and what is drawn in ink has the page's color."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
COLORS = (BLUE, ORANGE, GREEN, PINK, "#e69f00", "#56b4e9")
"""Told apart by people who do not see all colors (Okabe and Ito)."""
MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#010203"
"""Stands for the color of the page's text, which is another one in the dark."""
SIZE = (4.2, 3.4)
"""Of a plot in inches: as wide as a phone, so that its text is as large as the page's."""
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Plot:
    """A plot for the page."""

    svg: str
    """Markup in which all names are escaped."""
    note: str = ""
    """What a reader must know to read it."""


class Canvas:
    """Axes to draw on, and the plot that they become."""

    def __init__(self, figure: Figure) -> None:
        self.axes: Axes = figure.subplots()
        self._figure = figure

    def plot(self, description: str, *, note: str = "") -> Plot:
        """The plot; with a description for those who do not see it."""
        return Plot(_inline(self._figure, description), note)


@contextmanager
def canvas(title: str, x: str, y: str, *, size: tuple[float, float] = SIZE) -> Iterator[Canvas]:
    """Axes with a title and what each axis is, with its unit.

    The plot must be taken inside the block: matplotlib's style ends with it.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        made = Canvas(Figure(figsize=size, layout="constrained"))
        made.axes.set(xlabel=x, ylabel=y)
        made.axes.set_title(title, loc="left")
        yield made


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _inline(figure: Figure, description: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    _, _, drawing = buffer.getvalue().partition("<svg")
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
    # Names of groups would occur once per plot; those of markers and clips are hashes.
    drawing = re.sub(r' id="[a-zA-Z0-9.]+_[\d_]+"', "", drawing)
    drawing = drawing.replace(INK, "currentColor")
    label = html.escape(description, quote=True)
    return f'<svg role="img" aria-label="{label}"{drawing}'
