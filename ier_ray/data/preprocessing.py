"""From an encoded image to a network's input, the same wherever a network is used.

Training makes its :class:`Preprocessing` from its settings; evaluation, serving and explaining make
theirs from the checkpoint, so that all of them show the network the same input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.data.captions import CaptionReader
from ier_ray.data.images import MAX_PIXELS, Pixels, decode_mask, decode_square
from ier_ray.data.shards import RowReader
from ier_ray.data.transforms import Normalization, Statistics, statistics, to_unit_range


@dataclass(frozen=True)
class Preprocessing:
    """How images become the input of a network.

    There are two steps. Where an image is read, it becomes pixels of the network's size,
    ``(S, S, 3)`` uint8. On the network's device, a batch of pixels is normalized.

    Attributes:
        image_size: side S in pixels.
        normalization: how pixels are normalized.
        reads_captions: whether the network reads token ids in place of pixels. Only captioned
            shard sets have them, and preprocessing leaves them unchanged.
    """

    image_size: int
    normalization: Normalization = "per_image"
    reads_captions: bool = False

    def decode(self, encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
        """Pixels ``(S, S, 3)`` of an encoded image.

        Raises:
            ImageError: when the bytes are no image, or it has more than ``max_pixels``.
        """
        return decode_square(encoded, self.image_size, max_pixels=max_pixels)

    def decode_mask(self, encoded: bytes) -> NDArray[np.bool_]:
        """Decode a mask to ``(S, S)``, aligned with the pixels of its image."""
        return decode_mask(encoded, self.image_size)

    def reader(self, files: tuple[str, ...], classes: tuple[str, ...]) -> RowReader:
        """A reader of the network's input from the Parquet files of shard sets.

        Args:
            files: locations of the files, which the column ``file`` of the rows numbers.
            classes: label names in the network's order.
        """
        reader = CaptionReader if self.reads_captions else RowReader
        return reader(files, classes, self.image_size)

    def inputs(self, batch: Tensor, *, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The network's input, on the device of the batch.

        Args:
            batch: from a reader: pixels ``(N, S, S, 3)`` uint8, or token ids ``(N, L)``.
            augment: changes images ``(N, 3, S, S)`` in [0, 1] before they are normalized; token
                ids are not augmented.

        Returns:
            Normalized images ``(N, 3, S, S)``, or the token ids.
        """
        if self.reads_captions:
            return batch
        images = to_unit_range(batch)
        if augment is not None:
            images = augment(images)
        return self._statistics(images).apply(images)

    def image_and_baseline(
        self, pixels: Tensor, baseline: Callable[[Tensor], Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """A normalized image, and the baseline that replaces masked pixels: ``(3, S, S)`` each.

        The baseline is normalized with the statistics of the image, because masking comes after
        normalization.

        Args:
            pixels: ``(S, S, 3)`` uint8.
            baseline: computes the baseline of an image ``(3, S, S)`` in [0, 1]; None stands for
                zeros after normalization.
        """
        images = to_unit_range(pixels[None])
        measured = self._statistics(images)
        image = measured.apply(images)[0]
        if baseline is None:
            return image, torch.zeros_like(image)
        return image, measured.apply(baseline(images[0])[None])[0]

    def _statistics(self, images: Tensor) -> Statistics:
        return statistics(images, self.normalization)
