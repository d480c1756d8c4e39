"""Baselines: what the hidden pixels of a masked image show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from pydantic import StringConstraints
from torch import Tensor

Baseline = Annotated[
    str, StringConstraints(pattern=r"^(black|zero|mean|blur|inpaint|#[0-9a-fA-F]{6})$")
]
"""The kinds of :func:`baseline_image`, and ``zero``, which is set after normalization."""

BLUR_DIVISOR = 8
"""The blur's standard deviation is the image's longer side divided by this."""


def before_normalization(kind: Baseline) -> Callable[[Tensor], Tensor] | None:
    """The function that makes the baseline of an image in [0, 1]; None for ``zero``.

    ``zero`` is 0 after normalization, another reading of ``data_b`` in Algorithm 2. Where images
    are normalized to zero mean, it is the image's mean.
    """
    return None if kind == "zero" else partial(baseline_image, kind=kind)


def baseline_image(image: Tensor, kind: Baseline) -> Tensor:
    """Baseline of an image ``(C, H, W)`` in [0, 1], before normalization.

    ``black`` is the paper's; ``mean`` is the image's mean color; ``blur`` a strong Gaussian blur;
    ``inpaint`` fills the inside from the border; ``#rrggbb`` is a color.

    Raises:
        ValueError: for ``zero``, which is no picture before normalization.
    """
    if kind == "zero":
        raise ValueError("baseline zero is set after normalization: use before_normalization")
    if kind == "black":
        return torch.zeros_like(image)
    if kind == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    if kind == "inpaint":
        return inpainted(image)
    if kind.startswith("#"):
        color = image.new_tensor([int(kind[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        return color[:, None, None].expand_as(image).clone()
    # torchvision takes seconds to import, and every process of a cluster would pay them.
    from torchvision.transforms.v2.functional import gaussian_blur  # noqa: PLC0415

    sigma = max(image.shape[-2:]) / BLUR_DIVISOR
    radius = min(int(3 * sigma), min(image.shape[-2:]) - 1)
    blurred: Tensor = gaussian_blur(image, kernel_size=[2 * radius + 1] * 2, sigma=[sigma] * 2)
    return blurred


def inpainted(image: Tensor) -> Tensor:
    """The image's inside, interpolated from its four sides (a Coons patch).

    A bilinear image is reproduced exactly.
    """
    height, width = image.shape[-2:]
    y = torch.linspace(0, 1, height, device=image.device)[:, None]
    x = torch.linspace(0, 1, width, device=image.device)
    top, bottom = image[:, :1], image[:, -1:]
    left, right = image[:, :, :1], image[:, :, -1:]
    vertical = top * (1 - y) + bottom * y
    horizontal = left * (1 - x) + right * x
    corners = (1 - y) * ((1 - x) * top[:, :, :1] + x * top[:, :, -1:])
    corners = corners + y * ((1 - x) * bottom[:, :, :1] + x * bottom[:, :, -1:])
    return (vertical + horizontal - corners).clamp(0, 1)
