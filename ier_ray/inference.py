"""A checkpoint in use: probabilities of images, and scores of masked ones."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from ier_ray.config import Settings
from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.explain.anytime import AnytimeExplainer, FirstAxis
from ier_ray.explain.baselines import Baseline, baseline_image
from ier_ray.explain.dncshap import Contexts, Variant
from ier_ray.explain.evaluators import SCORES, Interrupt, NetworkEvaluator, never_interrupt
from ier_ray.explain.incremental import ExactInference
from ier_ray.training.checkpoint import CheckpointManifest, load_checkpoint

Score = Literal["probability", "logit", "log_odds"]
Precision = Literal["float32", "bfloat16"]


class ExplainerSettings(Settings):
    """How an image is explained."""

    depth: int = Field(6, ge=0, le=14)
    """Halvings of the image: up to 2^depth regions."""
    contexts: Contexts = "both"
    """Where halves are compared: absent (the paper), present, or both."""
    score: Score = "probability"
    """What is explained: the class's probability (the paper), its logit, or its log-odds."""
    baseline: Baseline = "black"
    """What hidden pixels show: black (the paper), mean (color), blur, inpaint (filled in from the
    image's border), or a #rrggbb color."""
    variant: Variant = "normalized"
    """How credit is divided: normalized (towards Shapley values), proportional (sharp maps, best
    with contexts present), or paper (as printed, contexts absent)."""
    tolerance: float = Field(0.0, ge=0)
    """Regions with a credit of at most this, in units of the score, are not divided further."""
    budget: int | None = Field(None, ge=2, le=8192)
    """Most masked images scored. Fewer than the tree has: the largest credits are divided first.
    More: they refine Shapley values (normalized, both) and give each leaf a standard deviation."""

    first_axis: FirstAxis = "x"
    """Axis of the first halving: x, y, or both (the mean of two trees that share the budget)."""
    precision: Precision = "float32"
    """Numbers that the network computes with; bfloat16 is about twice as fast where the hardware
    knows it, and the result says how far off it is."""

    @model_validator(mode="after")
    def _go_together(self) -> ExplainerSettings:
        self.explainer()
        return self

    def explainer(self, target: int | None = None) -> AnytimeExplainer:
        """The algorithm with these settings.

        Args:
            target: class whose credits say which regions matter; by default the predicted one.
        """
        return AnytimeExplainer(
            depth=self.depth,
            contexts=self.contexts,
            variant=self.variant,
            tolerance=self.tolerance,
            budget=self.budget,
            target=target,
            first_axis=self.first_axis,
        )


@dataclass(frozen=True)
class Recognizer:
    """The networks of a checkpoint, on a device."""

    networks: nn.ModuleDict
    manifest: CheckpointManifest
    device: torch.device
    _ready: dict[tuple[Domain, Precision], ExactInference] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, location: str, *, device: str | None = None) -> Recognizer:
        """Load a checkpoint directory.

        Args:
            device: a torch device name; by default a GPU where there is one.

        Raises:
            CheckpointError: when the checkpoint is missing or damaged.
        """
        model, manifest = load_checkpoint(location)
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        networks = nn.ModuleDict({"fer": model.fer, "ier": model.ier}).eval()
        # In the layout that convolutions on CPU are fastest with, and explanations cut windows in.
        networks = networks.to(chosen).to(memory_format=torch.channels_last)
        return cls(networks, manifest, chosen)

    @property
    def image_size(self) -> int:
        """Side of the input in pixels."""
        return self.manifest.model.image_size

    @torch.inference_mode()
    def probabilities(self, pixels: Pixels, *, domain: Domain = "ier") -> NDArray[np.float64]:
        """Class probabilities ``(N, K)`` of images ``(N, S, S, 3)``, or of token ids ``(N, L)``."""
        inputs = self.manifest.preprocessing.inputs(self._tensor(pixels))
        logits: Tensor = self.networks[domain](inputs)
        return logits.double().softmax(1).cpu().numpy()

    def evaluator(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        *,
        domain: Domain = "ier",
        interrupt: Interrupt = never_interrupt,
    ) -> NetworkEvaluator:
        """Scores of masked versions of an image ``(S, S, 3)``, by the fastest exact way.

        ``interrupt`` is called before each batch; what it raises ends the work.
        """
        image, baseline = self.manifest.preprocessing.image_and_baseline(
            self._tensor(pixels), partial(baseline_image, kind=settings.baseline)
        )
        score, remark = SCORES[settings.score], ""
        ready = self._exact(domain, settings.precision)
        if settings.precision == "bfloat16":
            both = torch.stack([image, baseline])
            image, baseline = image.bfloat16(), baseline.bfloat16()
            with torch.inference_mode():
                exact = score(self.networks[domain](both).double())
                rounded = score(ready.network(both.bfloat16()).double())
            off = float((rounded - exact).abs().max())
            remark = f"; in bfloat16, v(image) and v(baseline) are off by up to {off:.1e}"
        return ready.evaluator(image, baseline, score=score, interrupt=interrupt, remark=remark)

    def _exact(self, domain: Domain, precision: Precision) -> ExactInference:
        """A network made ready, once."""
        if (domain, precision) not in self._ready:
            network = self.networks[domain]
            if precision == "bfloat16":
                network = copy.deepcopy(network).bfloat16()
            self._ready[domain, precision] = ExactInference.of(network)
        return self._ready[domain, precision]

    def _tensor(self, pixels: Pixels) -> Tensor:
        return torch.tensor(pixels, device=self.device)  # a copy: Ray hands out read-only memory
