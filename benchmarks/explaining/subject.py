"""What is explained, and figures of it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from serving.contenders import ROOT
from serving.report import Bar
from serving.subject import picture
from subjects.checkpoints import save_untrained

from ier_ray.config import parse_settings, read_settings_file
from ier_ray.data.images import Pixels
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings
from ier_ray.serve.engine_jobs import EngineJobs
from ier_ray.training.settings import TrainSettings

PAIRS = 5
"""Rounds where single requests are compared."""


@dataclass(frozen=True)
class Figure:
    """A value without a limit."""

    name: str
    value: float

    def __str__(self) -> str:
        return f"{'':<8}{self.name}: {self.value:.3g}"


Line = Bar | Figure


@dataclass(frozen=True)
class Subject:
    """A network with random weights, and any number of pictures."""

    name: str
    depth: int
    """Of its explanations."""
    checkpoint: str
    recognizer: Recognizer
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, name: str, directory: Path) -> Subject:
        """The demo's network at 64 pixels, or a quarter of the paper's width at 224.

        Args:
            name: ``demo`` or ``quarter``.
            directory: where the checkpoint is saved.
        """
        depth, model = 8, ModelSettings(image_size=224, width=0.25)
        if name == "demo":
            source = str(ROOT / "configs" / "demo.yaml")
            train = parse_settings(TrainSettings, read_settings_file(source), source=source)
            depth, model = 6, train.model
        checkpoint = save_untrained(directory / name, model, networks=("ier",))
        return cls(name, depth, checkpoint, Recognizer.load(checkpoint, device="cpu"))

    @cached_property
    def jobs(self) -> EngineJobs:
        """What makes its explanations jobs of an engine."""
        return EngineJobs(self.recognizer)

    @property
    def settings(self) -> ExplainerSettings:
        """The whole tree."""
        return ExplainerSettings(depth=self.depth)

    def new_picture(self) -> bytes:
        """A JPEG that nothing has seen before."""
        return picture(next(self._numbers), self.recognizer.manifest.model.image_size)

    def new_pixels(self) -> Pixels:
        """The network's input ``(S, S, 3)`` of a new picture."""
        return self.decoded(self.new_picture())

    def decoded(self, encoded: bytes) -> Pixels:
        """The network's input ``(S, S, 3)`` of an encoded picture."""
        return self.recognizer.manifest.preprocessing.decode(encoded)


def median_ratio(
    numerator: Callable[[], float], denominator: Callable[[], float], rounds: int
) -> float:
    """Median over rounds of the ratio of two measurements; each round reverses their order."""
    ratios = []
    for number in range(rounds):
        if number % 2:
            below, above = denominator(), numerator()
        else:
            above, below = numerator(), denominator()
        ratios.append(above / below)
    return statistics.median(ratios)
