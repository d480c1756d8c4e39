"""A sheet of samples to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ier_ray.data.synthetic.canvas import Drawing

CAPTION = 14
MARGIN = 4
OUTLINE = (0, 224, 160)


def contact_sheet(drawings: Sequence[Drawing], *, columns: int, side: int = 160) -> Image.Image:
    """Drawings in rows, each ``side`` pixels wide, the cue outlined and the label below.

    Raises:
        ValueError: for fewer than one column.
    """
    if columns < 1:
        raise ValueError(f"columns must be >= 1, got {columns}")
    rows = -(-len(drawings) // columns)
    cell = (side + MARGIN, side + CAPTION + MARGIN)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    text = ImageDraw.Draw(sheet)
    for number, drawing in enumerate(drawings):
        x, y = (number % columns) * cell[0], (number // columns) * cell[1]
        sheet.paste(outlined(drawing, side), (x, y))
        text.text((x + 2, y + side + 1), drawing.label, fill="black")
    return sheet


def outlined(drawing: Drawing, side: int) -> Image.Image:
    """A drawing enlarged, with the edge of its cue mask."""
    image = Image.fromarray(drawing.image).resize((side, side), Image.Resampling.NEAREST)
    grown = Image.fromarray(drawing.cue_mask).resize((side, side), Image.Resampling.NEAREST)
    mask = np.pad(np.asarray(grown), 1)
    core = mask[1:-1, 1:-1]
    inner = core & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    pixels = np.array(image)
    pixels[core & ~inner] = OUTLINE
    return Image.fromarray(pixels)
