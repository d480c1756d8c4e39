"""Synthetic stand-ins for the paper's eight datasets, which are licensed and cannot be shipped.

Each dataset has its own style of drawing (color, contrast, blur, noise, lines), so that there is a
shift between any two of them. Cues are tinted by their emotion, so that networks of a few thousand
weights learn something in seconds; all evidence stays inside the cue mask. Sizes are proportional
to the square roots of the paper's, in its order: in proportion themselves, the smallest sets would
be a few images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ier_ray import storage
from ier_ray.data.images import encode_png
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.sources import Source
from ier_ray.data.sources.base import Listed, Loaded
from ier_ray.data.sources.combined import CombinedSource
from ier_ray.data.synthetic import EMOTIONS, draw_face, draw_scene
from ier_ray.emotions import FOUR
from ier_ray.experiments.datasets import ALL_FER, FER_SETS, IER_SETS, domain_of

Floats = NDArray[np.float64]

PER_ROOT, FEWEST = 1.5, 100
"""Drawings per square root of the paper's size, and the size of the smallest stand-ins."""
SIDE = 32
FOLDS = 3
CUE_TINTS = {
    "happy": (255, 230, 60),
    "sad": (20, 30, 90),
    "hate": (70, 160, 90),
    "anger": (190, 30, 30),
}
"""Colors of cues, of different brightness: some styles are grey."""
TINTED = 0.7
"""Share of the tint in a cue's color."""


@dataclass(frozen=True)
class Style:
    """How the drawings of a stand-in look.

    Attributes:
        size: images in the paper's dataset.
        color: saturation; 0 is grey, 1 as drawn.
        tint: added to red, green and blue.
        contrast: factor on the distance to mid-grey.
        blur: radius of a Gaussian blur in pixels.
        noise: standard deviation of added noise, of 255.
        levels: grey levels of each channel; None: all.
        lines: share of an edge image that is blended in.
        group: consecutive drawings that share a group, as those of a subject do.
    """

    size: int
    color: float = 1.0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    contrast: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    levels: int | None = None
    lines: float = 0.0
    group: int = 1

    @property
    def drawings(self) -> int:
        """Drawings in the stand-in."""
        return max(FEWEST, round(PER_ROOT * math.sqrt(self.size)))

    def apply(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """A drawing ``(S, S, 3)`` in this style."""
        blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(self.blur))
        pixels = np.asarray(blurred, dtype=np.float64)
        if self.lines:
            edges = 255 - np.asarray(blurred.filter(ImageFilter.FIND_EDGES), dtype=np.float64)
            pixels = (1 - self.lines) * pixels + self.lines * edges
        grey = pixels.mean(-1, keepdims=True)
        pixels = grey + self.color * (pixels - grey)
        pixels = 127.5 + self.contrast * (pixels - 127.5) + np.asarray(self.tint)
        pixels += rng.normal(0, self.noise, pixels.shape[:2])[..., None] if self.noise else 0.0
        if self.levels:
            step = 255 / (self.levels - 1)
            pixels = np.rint(pixels / step) * step
        styled: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
        return styled


STYLES: dict[str, Style] = {
    "fer13": Style(35_887, color=0.0, noise=8.0),
    "ferg": Style(55_767, color=1.5, contrast=1.2, levels=6, group=6),
    "jaffe": Style(213, color=0.0, contrast=0.8, blur=0.6, group=6),
    "ck_plus": Style(927, color=0.0, contrast=1.4, group=3),
    "iapsa": Style(395, tint=(30.0, 10.0, -20.0), noise=6.0),
    "artphoto": Style(806, color=1.3, lines=0.35, levels=12),
    "fi": Style(23_308, color=1.6, contrast=1.3),
    "emotic": Style(23_571, color=0.7, tint=(-20.0, 0.0, 25.0), blur=0.5, noise=4.0),
}
"""One style per dataset of the paper; the sizes are those of the paper."""


@dataclass(frozen=True)
class StandIn:
    """A source (:mod:`ier_ray.data.sources`) of drawings in the style of one dataset."""

    dataset: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Its name in shards, which no dataset has."""
        return f"{self.dataset}_stand_in"

    @property
    def style(self) -> Style:
        """How its drawings look."""
        return STYLES[self.dataset]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The dataset's domain."""
        return (domain_of(self.dataset),)

    def list(self, domain: Domain) -> Iterator[Listed]:  # noqa: ARG002 (there is one)
        """List ids that end in the number from which a sample is drawn; emotions alternate."""
        for number in range(self.style.drawings):
            group = f"{self.name}/group-{number // self.style.group:05d}"
            emotion = EMOTIONS[number % len(EMOTIONS)]
            yield Listed(f"{self.name}/{number:05d}", emotion, group)

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        """Draw a sample."""
        number = int(sample.sample_id.rsplit("/", 1)[1])
        place = list(STYLES).index(self.dataset)
        seed = int(np.random.SeedSequence((self.seed, place, number)).generate_state(1)[0])
        draw = draw_face if domain == "fer" else draw_scene
        drawing = draw(sample.source_label, size=SIDE, seed=seed)
        tint = np.asarray(CUE_TINTS[drawing.label]) * TINTED + drawing.image * (1 - TINTED)
        tinted = np.where(drawing.cue_mask[..., None], tint, drawing.image).astype(np.uint8)
        styled = self.style.apply(tinted, np.random.default_rng(seed))
        return Loaded(encode_png(styled), encode_png(drawing.cue_mask))


def write_stand_ins(location: str, *, seed: int = 0) -> dict[str, str]:
    """Write the shard sets of all stand-ins and of ``all`` FER ones together, once.

    Returns:
        The location of each, by its name in the settings.
    """
    sources: dict[str, Source] = {name: StandIn(name, seed) for name in (*FER_SETS, *IER_SETS)}
    sources[ALL_FER] = CombinedSource(tuple(sources[name] for name in FER_SETS))
    layout = LayoutSettings(folds=FOLDS, seed=seed, duplicates="keep")
    return {
        name: write_shard_set(
            source, domain_of(name), storage.join(location, name), scheme=FOUR, layout=layout
        ).location
        for name, source in sources.items()
    }
