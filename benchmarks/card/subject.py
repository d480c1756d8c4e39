"""What is run on the device: a network with random weights, and pictures."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.emotions import FOUR
from ier_ray.explain.dncshap import Contexts
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.models import EmotionClassifier, ModelSettings, build_network
from ier_ray.models.joint import last_dense
from ier_ray.serve.engine_jobs import EngineJobs
from ier_ray.training.checkpoint import CheckpointManifest

Precision = Literal["fp32", "tf32", "bf16"]
COARSE = 14
"""Side of the random pictures before they are enlarged."""
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        model: the network's size.
        depth: of the explanations.
        matmul: side of the product that measures the peak.
        training: the first batch size, and the last to try; those between are doubled.
        predicting: batch sizes.
        together: images that are explained at once.
        rounds: timed runs, of which the median counts.
        call_macs: multiply-accumulates of a call that keeps the device busy.
    """

    model: ModelSettings
    depth: int
    matmul: int
    training: tuple[int, int]
    predicting: tuple[int, ...]
    together: int
    rounds: int
    call_macs: float


PAPER = Size(
    ModelSettings(), 8, 8192, (16, 1024), (1, 16, 64), together=8, rounds=5, call_macs=2e10
)
QUICK = Size(
    ModelSettings(image_size=64, width=0.125),
    *(4, 512, (2, 4), (1, 4)),
    together=3,
    rounds=3,
    call_macs=2e7,
)


@dataclass(frozen=True)
class Subject:
    """A network on the CPU with a copy on the device, and pictures."""

    size: Size
    device: torch.device
    network: EmotionClassifier
    pictures: NDArray[np.uint8]
    """``(N, S, S, 3)``."""

    @classmethod
    def of(cls, size: Size, device: torch.device) -> Subject:
        torch.manual_seed(0)
        network = build_network(size.model, num_classes=len(FOUR.classes)).eval()
        count = max(*size.predicting, size.together)
        subject = cls(size, device, network, pictures(count, size.model.image_size))
        with torch.inference_mode():  # logits about one apart: probabilities neither 0 nor 1
            spread = network(subject.inputs(subject.pictures[:2])).std()
        with torch.no_grad():
            last_dense(network).weight /= spread
        return subject

    @cached_property
    def recognizer(self) -> Recognizer:
        """The network on the device, as :meth:`Recognizer.load` puts it there."""
        networks = nn.ModuleDict({"ier": copy.deepcopy(self.network)}).eval()
        networks = networks.to(self.device).to(memory_format=torch.channels_last)
        return Recognizer(networks, self._manifest, self.device)

    @cached_property
    def jobs(self) -> EngineJobs:
        """What makes its explanations jobs of an engine."""
        return EngineJobs(self.recognizer)

    def inputs(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Normalized images ``(N, 3, S, S)`` on the CPU."""
        return self._manifest.preprocessing.inputs(torch.tensor(pixels))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """TF32 exists on CUDA devices only."""
        return ("fp32", "tf32", "bf16") if self.device.type == "cuda" else ("fp32", "bf16")

    def settings(self, precision: Precision, contexts: Contexts = "both") -> ExplainerSettings:
        """Explanations of the logit, whose rounding errors a softmax does not hide."""
        return ExplainerSettings(
            depth=self.size.depth,
            contexts=contexts,
            score="logit",
            precision="bfloat16" if precision == "bf16" else "float32",
        )

    def seconds(self, run: Callable[[], object]) -> float:
        """Median of several runs after one that warms up."""
        run()
        return statistics.median(self.once(run) for _ in range(self.size.rounds))

    def once(self, run: Callable[[], object]) -> float:
        """Seconds of a run until the device has finished."""
        self.wait()
        started = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Give unused memory back, so that it is seen to be free, and forget the peak."""
        gc.collect()  # traced networks refer to themselves
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mib(self) -> float | None:
        """Most memory allocated on the device since :meth:`free`; None on the CPU."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / MIB

    @cached_property
    def _manifest(self) -> CheckpointManifest:
        return CheckpointManifest(
            model=self.size.model,
            networks=("ier",),
            scheme=FOUR.name,
            classes=list(FOUR.classes),
            normalization="per_image",
            epoch=0,
            step=0,
            metrics={},
            seed=0,
            criterion="last",
            score=0.0,
            data={},
        )


def pictures(count: int, side: int) -> NDArray[np.uint8]:
    """Smooth random images ``(N, S, S, 3)``."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, COARSE, COARSE, generator=generator)
    fine = nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1)
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


@contextmanager
def float32_as(precision: Precision) -> Iterator[None]:
    """Compute float32 convolutions and products in TF32 for ``tf32``, in full else.

    torch's own default is TF32 for convolutions and full precision for products.
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
