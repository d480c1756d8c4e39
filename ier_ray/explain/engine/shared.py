"""A network that scores masked versions of several images in common batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ier_ray.explain.evaluators import Interrupt, never_interrupt
from ier_ray.explain.incremental import ExactInference, TracedNetwork
from ier_ray.explain.incremental.activations import IMAGE, CachedActivations, channels_first
from ier_ray.explain.incremental.logits import masked_logits, masked_macs
from ier_ray.explain.masking import MaskedImages, Masking
from ier_ray.explain.memory import in_batches, planned_bytes
from ier_ray.explain.networks import FORWARD, logits_of

Logits = NDArray[np.float64]
"""``(M, K)``."""

MOST_PLACES = 16
"""Images whose activations are kept, where memory allows."""


@dataclass(frozen=True)
class Portion:
    """Masked versions of one image.

    Attributes:
        place: of the image.
        masking: the masked images.
    """

    place: int
    masking: MaskedImages


class SharedNetwork:
    """Logits of masked versions of several images, computed together.

    Images are put into numbered places; their activations stay there until another image is put
    into the same place.

    Args:
        prepared: the network, on its device.
        image, baseline: any ``(C, H, W)`` of the size and precision to come: the network is
            examined with them, and places are made for them.
        places: how many; by default as many as a quarter of the free memory allows, at most 16.
        name: by which observers know it.
    """

    def __init__(
        self,
        prepared: ExactInference,
        image: Tensor,
        baseline: Tensor,
        *,
        places: int | None = None,
        name: str = "",
    ) -> None:
        self.name = name
        choice = prepared.choice(image, baseline)
        self._network, self._batch_size = prepared.network, choice.batch_size
        self._traced = None if choice.dense_because else prepared.traced
        self.inference = f"dense: {choice.dense_because}" if self._traced is None else "incremental"
        with torch.inference_mode(), FORWARD:
            first = self._activations(torch.stack([baseline, image]))
            affordable = planned_bytes(image.device) // max(1, first.bytes_per_image)
            self.places = places or int(np.clip(affordable, 1, MOST_PLACES))
            self._kept = first.room_for(self.places)
        self.classes = int(first.logits.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self._kept.pixels.shape[1], self._kept.pixels.shape[2]

    @torch.inference_mode()
    def put(self, places: Sequence[int], images: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Put images and baselines, each ``(C, H, W)``, into places."""
        pairs = torch.stack([each for image, baseline in images for each in (baseline, image)])
        with FORWARD:
            self._kept.put(places, self._activations(pairs))

    @torch.inference_mode()
    def logits(
        self, portions: Sequence[Portion], *, interrupt: Interrupt = never_interrupt
    ) -> list[Logits]:
        """Logits of each portion, ``(M, K)``."""
        windowed = [self._is_windowed(portion.masking) for portion in portions]
        found: list[Logits | None] = [None] * len(portions)
        for together, compute in ((True, self._by_windows), (False, self._whole)):
            chosen = [index for index, each in enumerate(windowed) if each == together]
            if chosen:
                with FORWARD:
                    rows = compute([portions[index] for index in chosen], interrupt)
                ends = np.cumsum([len(portions[index].masking) for index in chosen])[:-1]
                logits = rows.double().cpu().numpy()
                for index, part in zip(chosen, np.split(logits, ends), strict=True):
                    found[index] = part
        return [each for each in found if each is not None]

    def costs(self, masking: MaskedImages) -> NDArray[np.float64]:
        """Multiply-accumulates of each masked image, ``(M,)``."""
        if self._traced is not None and isinstance(masking, Masking):
            return masked_macs(self._traced, self._kept.shapes, masking)
        return np.full(len(masking), self.whole_macs)

    @cached_property
    def whole_macs(self) -> float:
        """Multiply-accumulates of the whole network on one image."""
        with FORWARD, FlopCounterMode(display=False) as counter, torch.inference_mode():
            logits_of(self._network, channels_first(self._kept.pixels[:1]))
        flops: float = counter.get_total_flops()
        return max(1.0, flops / 2)

    def _is_windowed(self, masking: MaskedImages) -> bool:
        return self._traced is not None and isinstance(masking, Masking)

    def _activations(self, pixels: Tensor) -> CachedActivations:
        """What is kept of images and baselines: all that windows need, or the pixels."""
        if self._traced is not None:
            return CachedActivations.of(self._traced, pixels)
        return CachedActivations.of_pixels(pixels, self._run(pixels))

    def _by_windows(self, portions: Sequence[Portion], interrupt: Interrupt) -> Tensor:
        maskings = [p.masking for p in portions if isinstance(p.masking, Masking)]
        masking = Masking(
            np.concatenate([each.rectangles for each in maskings]),
            np.concatenate([each.keeps_inside for each in maskings]),
        )
        network: TracedNetwork = self._traced  # type: ignore[assignment] # portions are windowed
        return masked_logits(network, self._kept, masking, pairs_of(portions), interrupt=interrupt)

    def _whole(self, portions: Sequence[Portion], interrupt: Interrupt) -> Tensor:
        pixels = channels_first(self._kept.pixels)
        backgrounds = torch.from_numpy(2 * pairs_of(portions)).to(pixels.device)
        shown = np.concatenate([each.masking.pixels(*self.shape) for each in portions])

        def computed(rows: slice) -> Tensor:
            interrupt()
            mask = torch.from_numpy(shown[rows, None]).to(pixels.device)
            behind = backgrounds[rows]
            masked = torch.where(mask, pixels[behind + IMAGE], pixels[behind])
            return logits_of(self._network, masked)

        parts = in_batches(len(shown), self._batch_size, computed)
        return torch.cat([each for _, each in parts])

    def _run(self, pixels: Tensor) -> Tensor:
        """Logits of images, as many at once as the network treats alike."""
        parts = in_batches(
            len(pixels), self._batch_size, lambda rows: logits_of(self._network, pixels[rows])
        )
        return torch.cat([each for _, each in parts])


def pairs_of(portions: Sequence[Portion]) -> NDArray[np.int64]:
    """The place of each row's image."""
    return np.repeat([each.place for each in portions], [len(each.masking) for each in portions])
