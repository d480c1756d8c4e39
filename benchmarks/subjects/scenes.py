"""The demo's networks, trained without a cluster on drawings held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.provenance import DomainData, SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.streams import Batch, JointBatch
from ier_ray.data.synthetic import Drawing, draw_face, draw_scene
from ier_ray.emotions import FOUR
from ier_ray.explain.baselines import baseline_image
from ier_ray.training.checkpoint import load_checkpoint
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.settings import TrainSettings

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"
SIZE, HELD_OUT = 64, 200
DRAW: dict[Domain, Callable[..., Drawing]] = {"fer": draw_face, "ier": draw_scene}


@dataclass(frozen=True)
class Scene:
    """A held-out scene as the network sees it, its mean-color baseline, and its evidence."""

    image: Tensor
    baseline: Tensor
    cue_mask: NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnStreams:
    """:class:`~ier_ray.training.context.Streams` of drawings in memory."""

    drawings: int
    batch_size: int
    data: dict[Domain, DomainData] = field(default_factory=dict)
    seen: SeenRows = field(default_factory=SeenRows.none)
    held: dict[Domain, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for domain, draw in DRAW.items():
            drawn = [
                draw(FOUR.classes[number % 4], size=SIZE, seed=drawing_seed(domain, number))
                for number in range(self.drawings + HELD_OUT)
            ]
            labels = torch.arange(len(drawn)) % 4
            images = torch.from_numpy(np.stack([np.asarray(one.image) for one in drawn]))
            self.held[domain] = images, labels

    def steps(self, epoch: int) -> int:
        return self.drawings // self.batch_size

    def train(self, epoch: int) -> Iterator[JointBatch]:
        generator = torch.Generator().manual_seed(epoch)
        orders = {d: torch.randperm(self.drawings, generator=generator) for d in DRAW}
        for start in range(0, self.drawings - self.batch_size + 1, self.batch_size):
            rows = {d: orders[d][start : start + self.batch_size] for d in DRAW}
            yield JointBatch(self._batch("fer", rows["fer"]), self._batch("ier", rows["ier"]))

    def validation(self, domain: Domain) -> Iterator[Batch]:
        for rows in torch.arange(self.drawings, self.drawings + HELD_OUT).split(64):
            yield self._batch(domain, rows)

    def _batch(self, domain: Domain, rows: Tensor) -> Batch:
        images, labels = self.held[domain]
        return Batch(images[rows], labels[rows])


def drawing_seed(domain: str, number: int) -> int:
    return int(np.random.SeedSequence((domain == "ier", number)).generate_state(1)[0])


def scenes_network(*, drawings: int, epochs: int) -> tuple[nn.Module, float]:
    """The demo's IER network, trained here, and its held-out accuracy."""
    values = read_settings_file(str(CONFIG))
    values["schedule"]["epochs"] = epochs
    settings = parse_settings(TrainSettings, values, source=str(CONFIG))
    with tempfile.TemporaryDirectory() as place:
        context = LocalContext(Path(place))
        train(settings, DrawnStreams(drawings, settings.optimizer.batch_size), FOUR, context)
        model, manifest = load_checkpoint(f"{place}/last")
    return model.ier.eval(), manifest.metrics["ier_accuracy"]


def held_out_scenes(count: int) -> list[Scene]:
    """The first scenes that no training has seen, the emotions in turn."""
    scenes = []
    for number in range(1_000_000, 1_000_000 + count):
        drawing = draw_scene(FOUR.classes[number % 4], size=SIZE, seed=drawing_seed("ier", number))
        pixels = torch.from_numpy(np.asarray(drawing.image).copy())
        image, baseline = Preprocessing(SIZE).image_and_baseline(
            pixels, partial(baseline_image, kind="mean")
        )
        scenes.append(Scene(image, baseline, np.asarray(drawing.cue_mask) > 0))
    return scenes
