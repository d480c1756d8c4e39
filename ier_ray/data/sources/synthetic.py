"""Synthetic faces and scenes: the default dataset, at any size, with known cue pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ier_ray.data.images import encode_png
from ier_ray.data.schema import Domain
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.synthetic import EMOTIONS, draw_face, draw_scene


@dataclass(frozen=True)
class SyntheticSource:
    """``samples`` drawings per domain; their emotions alternate.

    Attributes:
        samples: drawings per domain.
        size: side of a drawing in pixels.
        seed: the same seed gives the same drawings on every machine.
    """

    samples: int
    size: int
    seed: int
    name: str = "synthetic"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Both domains."""
        return ("fer", "ier")

    def list(self, domain: Domain) -> Iterator[Listed]:
        """List ids that contain the number from which a sample is drawn."""
        for number in range(self.samples):
            sample_id = f"synthetic-{domain}-{self.seed}-{number:07d}"
            yield Listed(sample_id, EMOTIONS[number % len(EMOTIONS)], sample_id)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Draw a sample."""
        number = int(sample.sample_id.rsplit("-", 1)[1])
        draw = draw_face if domain == "fer" else draw_scene
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        drawing = draw(sample.source_label, size=self.size, seed=seed)
        return Loaded(encode_png(drawing.image), encode_png(drawing.cue_mask))
