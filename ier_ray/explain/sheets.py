"""An explanation as a figure: the picture, its overlay with scale and caption, and every level."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.regions import areas
from ier_ray.explain.rendering import COLORMAP, fitted, overlay, resized, saturation, stretched

PANEL = (360, 640)
"""Least and largest longest side of the pictures in a sheet, in pixels."""
THUMBNAIL = 240
"""Longest side of a level's picture."""
COLUMNS = 4
DPI = 100
LINE = 19
"""Pixels from one line of text to the next."""
GAP, BAR, BAR_LABELS = 16, 14, 66
"""Pixels between panels; width of a color bar and of its labels."""
LETTER = 6.2
"""Mean width of a letter in pixels, by which lines are broken."""
SPREAD_COLORMAP = "cividis"
OUTLINED = 0.5
"""Credits of more than this share of the scale are outlined: solid for, dashed against."""
UNITS = {
    "probability": (100.0, "percentage points of probability"),
    "logit": (1.0, "units of the logit"),
    "log_odds": (1.0, "units of the log-odds"),
}
"""By score: the factor to the unit that is shown, and its name."""


@dataclass(frozen=True)
class Caption:
    """What the margin of a sheet says.

    Attributes:
        name: of the picture.
        target: the explained class, and its probability.
        prediction: the predicted class, and its probability.
        label: the true class, where it is known.
        score: kind of score that is explained, among :data:`UNITS`.
        settings: how it was explained.
    """

    name: str
    target: tuple[str, float]
    prediction: tuple[str, float]
    label: str | None
    score: str
    settings: str

    def lines(self) -> list[str]:
        """The name; then the classes."""
        (target, probability), (predicted, most) = self.target, self.prediction
        classes = f"explained class: {target} ({probability:.1%})"
        classes += (
            ", the predicted one"
            if target == predicted
            else f"; predicted: {predicted} ({most:.1%})"
        )
        known = "not known" if self.label is None else self.label
        return [self.name, f"{classes}; true label: {known}"]

    @property
    def unit(self) -> str:
        """The unit of what :func:`in_units` gives."""
        return f"{UNITS[self.score][1]} per 1 % of the area"


def in_units(density: NDArray[np.float64], score: str) -> NDArray[np.float64]:
    """A density per pixel as credit per 1 % of the picture's area."""
    return density * (density.size / 100 * UNITS[score][0])


def sheet(
    picture: NDArray[np.uint8], explanation: Explanation, target: int, caption: Caption
) -> bytes:
    """A PNG: the picture, its overlay with a color bar, and what is known of the uncertainty.

    Args:
        picture: ``(H, W, 3)``, in its own proportions; its longest side is shown with as many
            pixels as it has, within :data:`PANEL`.
        target: index of the explained class.
    """
    longest = int(np.clip(max(picture.shape[:2]), *PANEL))
    height, width = fitted(picture.shape[:2], longest)
    uncertain = uncertainty(explanation, target)
    bars = 1 if uncertain is None else 2
    total = (bars + 1) * (width + GAP) + bars * (BAR + GAP + BAR_LABELS) + GAP
    above = broken(caption.lines(), total)
    below = broken([_scores(explanation, target, caption), caption.settings], total)
    page = _Page.of(total, height, above, below)
    density = in_units(explanation.density_map(target), caption.score)
    panel = page.panel(GAP, width, height, "picture")
    panel.imshow(resized(picture, longest), interpolation="none")
    left = 2 * GAP + width
    panel = page.panel(left, width, height, f"credit of {caption.target[0]}: red for, blue against")
    panel.imshow(overlay(picture, density, size=longest), interpolation="none")
    limit = saturation(density)
    _outline(panel, stretched(density, height, width), limit)
    left += width + GAP
    page.bar(left, height, COLORMAP, (-limit, limit), caption.unit)
    if uncertain is not None:
        left += BAR + BAR_LABELS + GAP
        panel = page.panel(left, width, height, uncertain[0])
        shown = stretched(in_units(uncertain[1], caption.score), height, width)
        most = saturation(shown)
        panel.imshow(shown, cmap=SPREAD_COLORMAP, vmin=0, vmax=most, interpolation="none")
        page.bar(left + width + GAP, height, SPREAD_COLORMAP, (0, most), caption.unit)
    return page.png()


def uncertainty(explanation: Explanation, target: int) -> tuple[str, NDArray[np.float64]] | None:
    """What is known of the standard deviation of the density, ``(h, w)``, and its title."""
    tree, forest, deviations = explanation.tree, explanation.forest, explanation.deviations
    if forest is not None:
        return f"standard deviation over {forest.trees} trees", forest.spread[..., target]
    if deviations is None:
        return None
    per_pixel = deviations[:, target] / areas(tree.rectangles[tree.leaves])
    return "posterior standard deviation", tree.paint(tree.leaves, per_pixel)


def level_sheet(
    picture: NDArray[np.uint8], explanation: Explanation, target: int, caption: Caption
) -> bytes:
    """A PNG: overlays of every level below the root, coarse to fine, each with its own scale.

    A tree of one region is shown as its only level. The mean over several trees is the last one.
    """
    tree = explanation.tree
    shown = [
        (
            f"level {level}: {len(tree.at(level))} regions",
            explanation.density_map(target, level=level),
        )
        for level in range(min(1, tree.depth), tree.depth + 1)
    ]
    if explanation.forest is not None:
        title = f"mean of {explanation.forest.trees} trees"
        shown.append((title, explanation.density_map(target)))
    height, width = fitted(picture.shape[:2], THUMBNAIL)
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    step = height + 3 * LINE
    total = max(columns * (width + GAP) + GAP, 2 * THUMBNAIL)
    above = broken(caption.lines(), total)
    unit = f"Colors saturate at the credit below each picture, in {caption.unit}."
    below = broken([unit, caption.settings], total)
    page = _Page.of(total, (rows - 1) * step + height + LINE, above, below)
    for number, (title, density) in enumerate(shown):
        row, column = divmod(number, columns)
        left, down = GAP + column * (width + GAP), row * step
        panel = page.panel(left, width, height, title, down=down)
        panel.imshow(overlay(picture, density, size=THUMBNAIL), interpolation="none")
        limit = saturation(in_units(density, caption.score))
        page.text(left + width / 2, page.top + down + height + 4, f"±{limit:.3g}", centered=True)
    return page.png()


def broken(texts: Sequence[str], width: float) -> list[str]:
    """Texts as lines of about a width in pixels."""
    most = max(10, int(width / LETTER))
    return [line for text in texts for line in textwrap.wrap(text, most) or [""]]


def _scores(explanation: Explanation, target: int, caption: Caption) -> str:
    """What the credits add up to."""
    full, empty = explanation.full[target], explanation.empty[target]
    kind = caption.score.replace("_", "-")
    total = "do not sum" if explanation.variant == "paper" else "sum"
    return (
        f"{kind} of the picture {full:.4g}, of the baseline {empty:.4g}; the credits {total} to "
        f"their difference; {explanation.evaluations} masked pictures scored"
    )


def _outline(axes: Axes, density: NDArray[np.float64], limit: float) -> None:
    """Draw around what has a large credit."""
    for level, style in ((OUTLINED * limit, "solid"), (-OUTLINED * limit, "dashed")):
        if density.min() < level < density.max():
            axes.contour(density, levels=[level], colors="black", linewidths=0.9, linestyles=style)


@dataclass(frozen=True)
class _Page:
    """A figure on which things have places in pixels from its upper left corner."""

    figure: Figure
    width: float
    height: float
    top: float
    """Where the panels begin."""

    @classmethod
    def of(cls, width: float, panels: float, above: list[str], below: list[str]) -> _Page:
        """A page with lines above and below panels of so many pixels in all."""
        top = LINE * (len(above) + 2)
        height = (
            top + panels + LINE * (len(below) + 2)
        )  # whole pixels, so that pictures keep theirs
        page = cls(Figure(figsize=(width / DPI, height / DPI), dpi=DPI), width, height, top)
        for number, line in enumerate(above):
            page.text(GAP, LINE * (number + 0.5), line, bold=number == 0)
        for number, line in enumerate(below):
            page.text(GAP, top + panels + LINE * (number + 0.75), line)
        return page

    def text(
        self, x: float, y: float, text: str, *, bold: bool = False, centered: bool = False
    ) -> None:
        """A line whose upper edge is at y."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            va="top",
            ha="center" if centered else "left",
            fontsize=8.5,
            weight="bold" if bold else "normal",
            parse_math=False,
        )

    def panel(
        self, left: float, width: float, height: float, title: str, *, down: float = 0
    ) -> Axes:
        """Axes of so many pixels, under a title."""
        self.text(left, self.top + down - LINE, title)
        axes = self._axes(left, width, height, down)
        axes.axis("off")
        return axes

    def bar(
        self, left: float, height: float, colormap: str, limits: tuple[float, float], unit: str
    ) -> None:
        """A color bar beside a panel."""
        axes = self._axes(left, BAR, height, 0)
        scale = ScalarMappable(Normalize(*limits), colormaps[colormap])
        drawn = self.figure.colorbar(scale, cax=axes)
        drawn.ax.tick_params(labelsize=7.5)
        drawn.set_label(unit, fontsize=7.5)

    def png(self) -> bytes:
        """The page as a file."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
        return buffer.getvalue()

    def _axes(self, left: float, width: float, height: float, down: float) -> Axes:
        bottom = self.height - self.top - down - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )
