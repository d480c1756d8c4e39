"""What a hidden pixel is replaced with."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import StringConstraints
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

Baseline = Annotated[str, StringConstraints(pattern=r"^(black|mean|blur|#[0-9a-fA-F]{6})$")]
"""The kinds of :func:`baseline_image`."""

BLUR_SHARE = 8
"""The blur's standard deviation is the image's longer side over this."""


def baseline_image(image: Tensor, kind: Baseline) -> Tensor:
    """Baseline of an image ``(C, H, W)`` in [0, 1], before normalisation.

    ``black`` is the paper's; ``mean`` is the image's mean colour; ``blur`` a strong Gaussian blur;
    ``#rrggbb`` a colour.
    """
    if kind == "black":
        return torch.zeros_like(image)
    if kind == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    if kind.startswith("#"):
        colour = image.new_tensor([int(kind[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        return colour[:, None, None].expand_as(image).clone()
    sigma = max(image.shape[-2:]) / BLUR_SHARE
    radius = min(int(3 * sigma), min(image.shape[-2:]) - 1)
    blurred: Tensor = gaussian_blur(image, kernel_size=[2 * radius + 1] * 2, sigma=[sigma] * 2)
    return blurred
