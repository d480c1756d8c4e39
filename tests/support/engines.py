"""Jobs for the explanation engine, and what comes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ier_ray.explain import AnytimeExplainer, ExactInference, Explanation
from ier_ray.explain.demands import recorded
from ier_ray.explain.engine import Done, Engine, Job, Level, SharedNetwork, Update
from ier_ray.explain.engine.shared import Logits, Portion
from ier_ray.explain.evaluators import Interrupt, ScoreFunction, never_interrupt, probability

SIDE = 16
BASELINE = torch.zeros(3, SIDE, SIDE, dtype=torch.float64)


def small_network() -> nn.Module:
    """Convolutions and a dense layer, in double precision: windows pay."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 3),
    ]  # fmt: skip
    return nn.Sequential(*layers).double().eval()


class CountingNetwork(SharedNetwork):
    """Records the rows of every batch.

    Attributes:
        batches: rows per portion of each batch.
        before: called before each batch.
        before_put: called before images are put into places.
    """

    def __init__(self, network: nn.Module, **options: Any) -> None:
        self.batches: list[list[int]] = []
        self.before: Callable[[], None] = lambda: None
        self.before_put: Callable[[], None] = lambda: None
        super().__init__(ExactInference.of(network), image_of(0), BASELINE, **options)

    def logits(
        self, portions: Sequence[Portion], *, interrupt: Interrupt = never_interrupt
    ) -> list[Logits]:
        """As the base class."""
        self.batches.append([len(portion.masking) for portion in portions])
        self.before()
        return super().logits(portions, interrupt=interrupt)

    def put(self, places: Sequence[int], images: Sequence[tuple[Tensor, Tensor]]) -> None:
        """As the base class."""
        self.before_put()
        super().put(places, images)

    @property
    def rows(self) -> int:
        """Rows scored so far."""
        return sum(map(sum, self.batches))


def image_of(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, SIDE, SIDE, generator=generator, dtype=torch.float64)


def job_of(
    network: SharedNetwork,
    explainer: AnytimeExplainer,
    *,
    image: int = 0,
    score: ScoreFunction = probability,
) -> Job:
    """An explanation of the image with this seed."""
    return Job(
        key=(image, explainer, score),
        image_key=image,
        network=network,
        image=image_of(image),
        baseline=BASELINE,
        demands=lambda interrupt: recorded(
            explainer.demands(network.shape, by_level=True, interrupt=interrupt), network.inference
        ),
        score=score,
        macs=explainer.macs(network.shape, network.costs, network.whole_macs),
    )


@dataclass
class Waiting:
    """Collects the updates of one submitted job."""

    updates: list[Update] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    at: float = 0.0

    def __call__(self, update: Update) -> None:
        self.updates.append(update)
        if not isinstance(update, Level):
            self.at = time.monotonic()
            self.ended.set()

    def answer(self) -> Update:
        """The last update."""
        assert self.ended.wait(60), f"nothing came but {self.updates}"
        return self.updates[-1]

    def done(self) -> Done:
        """The last update, which must be a result."""
        found = self.answer()
        assert isinstance(found, Done), found
        return found

    def explanation(self) -> Explanation:
        """The result, which must be an explanation."""
        found = self.done().result
        assert isinstance(found, Explanation)
        return found


def submitted(engine: Engine, jobs: Sequence[Job]) -> list[Waiting]:
    """Submit all; what waits for each."""
    waiting = [Waiting() for _ in jobs]
    for job, each in zip(jobs, waiting, strict=True):
        engine.submit(job, each)
    return waiting


def largest_difference(first: Any, second: Any) -> float:
    """Between the credits of two explanations of the same regions."""
    np.testing.assert_array_equal(first.tree.rectangles, second.tree.rectangles)
    return float(np.abs(first.credits - second.credits).max())


def held(network: CountingNetwork) -> tuple[threading.Event, threading.Event]:
    """The network waits in its next batch: set when it is there, and to be set to let it go."""
    inside, go = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go.wait(60)

    network.before = wait
    return inside, go
