"""Inference with a checkpoint: class probabilities of images, and scores of masked images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.errors import CheckpointError
from ier_ray.evaluation.prior_shift import adjusted
from ier_ray.explain.baselines import before_normalization
from ier_ray.explain.evaluators import (
    SCORES,
    Interrupt,
    NetworkEvaluator,
    never_interrupt,
)
from ier_ray.explain.incremental import ExactInference
from ier_ray.explain.networks import FORWARD
from ier_ray.explainer_settings import ExplainerSettings, Precision
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.joint import last_dense
from ier_ray.training.checkpoint import CheckpointManifest, load_checkpoint


@torch.no_grad()
def shift_logits(
    network: EmotionClassifier, trained: Mapping[str, float], target: Mapping[str, float]
) -> None:
    """Add ``ln(target_k / trained_k)`` to the biases of the last dense layer.

    The probabilities become those of :func:`ier_ray.evaluation.prior_shift.adjusted`.

    Raises:
        DataError: naming a class whose frequency is 0.
    """
    uniform = np.full((1, len(target)), 1 / len(target))
    offsets = np.log(adjusted(uniform, trained, target)[0])
    last_dense(network).bias.add_(torch.from_numpy(offsets).float())


def compute_float32_in_full() -> None:
    """Turn TF32 off in this process: torch's default for convolutions on a card.

    With its ten bits of mantissa, an image computed whole or in parts would differ in the third
    digit.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@dataclass(frozen=True)
class Recognizer:
    """The networks of a checkpoint, on a device."""

    networks: nn.ModuleDict
    manifest: CheckpointManifest
    device: torch.device
    _prepared: dict[tuple[Domain, Precision], ExactInference] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def load(
        cls,
        location: str,
        *,
        device: str | None = None,
        adjust_prior: bool = False,
        weights_sha256: str | None = None,
    ) -> Recognizer:
        """Load a checkpoint directory.

        Args:
            device: a torch device name; by default a GPU where there is one.
            adjust_prior: shift the logits from the class frequencies of training to those of the
                validation part, in all that follows: predictions and explanations.
            weights_sha256: hash that the weights must have; by default any.

        Raises:
            CheckpointError: when the checkpoint is missing or damaged, has no such frequencies, or
                has other weights.
        """
        model, manifest = load_checkpoint(location)
        if weights_sha256 not in (None, manifest.weights_sha256):
            raise CheckpointError(
                f"{location}: the weights are {manifest.weights_sha256} now, wanted are "
                f"{weights_sha256}: the files were replaced; deploy again to serve the new ones"
            )
        if adjust_prior:
            for domain, network in model.networks.items():
                shift_logits(network, *manifest.priors(domain))
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        networks = nn.ModuleDict({str(name): net for name, net in model.networks.items()}).eval()
        # The layout in which convolutions on CPU are fastest, and which windows are cut from.
        networks = networks.to(chosen).to(memory_format=torch.channels_last)
        if chosen.type == "cuda":
            compute_float32_in_full()
        return cls(networks, manifest, chosen)

    @torch.inference_mode()
    def probabilities(
        self, pixels: Pixels, *, domain: Domain = "ier", flip: bool = False
    ) -> NDArray[np.float64]:
        """Class probabilities ``(N, K)`` of images ``(N, S, S, 3)``, or of token ids ``(N, L)``.

        Args:
            flip: average those of each image and of its mirror image, at twice the cost.

        Raises:
            CheckpointError: when the network reads captions, which cannot be mirrored.
        """
        if flip and self.manifest.model.reads_captions:
            raise CheckpointError(
                f"flip mirrors images, but {self.manifest.model.architecture} reads captions: "
                f"leave it out"
            )
        inputs = self.manifest.preprocessing.inputs(self._tensor(pixels))
        views = [inputs, inputs.flip(-1)] if flip else [inputs]
        network = self._network(domain)
        with FORWARD:
            each = [network(view).double().softmax(1) for view in views]
        found: NDArray[np.float64] = torch.stack(each).mean(0).cpu().numpy()
        return found

    def evaluator(
        self,
        pixels: Pixels,
        settings: ExplainerSettings,
        *,
        domain: Domain = "ier",
        interrupt: Interrupt = never_interrupt,
    ) -> NetworkEvaluator:
        """Scores of masked versions of an image ``(S, S, 3)``, by the fastest exact method.

        ``interrupt`` is called before each batch; an exception that it raises stops the evaluation.
        """
        image, baseline, remark = self.normalized(pixels, settings, domain)
        return self.exact(domain, settings.precision).evaluator(
            image, baseline, score=SCORES[settings.score], interrupt=interrupt, remark=remark
        )

    def normalized(
        self, pixels: Pixels, settings: ExplainerSettings, domain: Domain
    ) -> tuple[Tensor, Tensor, str]:
        """The image and its baseline, and what to remark of their precision."""
        image, baseline = self.manifest.preprocessing.image_and_baseline(
            self._tensor(pixels), before_normalization(settings.baseline)
        )
        if settings.precision == "float32":
            return image, baseline, ""
        score, both = SCORES[settings.score], torch.stack([image, baseline])
        prepared = self.exact(domain, settings.precision)
        with torch.inference_mode(), FORWARD:
            exact = score(self._network(domain)(both).double())
            rounded = score(prepared.network(both.bfloat16()).double())
        error = float((rounded - exact).abs().max())
        remark = f"; in bfloat16, v(image) and v(baseline) are off by up to {error:.1e}"
        return image.bfloat16(), baseline.bfloat16(), remark

    def exact(self, domain: Domain, precision: Precision) -> ExactInference:
        """The network prepared for exact inference, once for each domain and precision."""
        if (domain, precision) not in self._prepared:
            network = self._network(domain)
            if precision == "bfloat16":
                network = copy.deepcopy(network).bfloat16()
            self._prepared[domain, precision] = ExactInference.of(network)
        return self._prepared[domain, precision]

    def _network(self, domain: Domain) -> nn.Module:
        """The network of a domain.

        Raises:
            CheckpointError: when the checkpoint has none.
        """
        if domain not in self.networks:
            raise CheckpointError(
                f"the checkpoint holds the {', '.join(self.networks)} network alone "
                f"(schedule.networks), there is no {domain} network in it"
            )
        return self.networks[domain]

    def _tensor(self, pixels: Pixels) -> Tensor:
        return torch.tensor(pixels, device=self.device)  # a copy: Ray hands out read-only memory
