"""Features of a frozen trunk, computed once per image in place of once per epoch."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ier_ray.data.schema import Domain
from ier_ray.data.streams import Batch
from ier_ray.models.classifier import DividedClassifier
from ier_ray.models.joint import JointModel
from ier_ray.training.optimization import autocast
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)

Key = tuple[Domain, int, bool]
"""Domain of a stream and hash of a sample's id, which are unique together; whether mirrored."""


@dataclass
class TrunkCache:
    """The features that both networks' heads read, by image.

    Kept in this process's memory, without a limit of time: the trunk must be frozen. When
    ``capacity`` is reached, features of further images are computed anew each time.
    """

    network: DividedClassifier
    """A network with the trunk that both networks share."""
    settings: TrainSettings
    device: torch.device
    capacity: int
    """Bytes of features that are kept."""
    held: dict[Key, Tensor] = field(default_factory=dict)
    bytes: int = 0
    """Bytes of the features in ``held``."""

    def features(self, domain: Domain, batch: Batch, mirrored: Tensor | None = None) -> Tensor:
        """Features ``(N, d)`` of a batch's images, on the device, without a gradient.

        Args:
            mirrored: ``(N,)`` booleans on the CPU, which images are mirrored. None: no image.
        """
        if not len(batch.labels):  # of a network that the run does not have
            return torch.empty(0, 0, device=self.device)
        if mirrored is None:
            mirrored = torch.zeros(len(batch.labels), dtype=torch.bool)
        if batch.keys is None:
            return self._compute(batch.images, mirrored)
        pairs = zip(batch.keys.tolist(), mirrored.tolist(), strict=True)
        keys: list[Key] = [(domain, key, turned) for key, turned in pairs]
        rows = {key: self.held[key] for key in keys if key in self.held}
        absent = {key: row for row, key in enumerate(keys) if key not in rows}
        if absent:
            places = list(absent.values())
            computed = self._compute(batch.images[places], mirrored[places]).cpu()
            for key, features in zip(absent, computed, strict=True):
                rows[key] = features
                self._keep(key, features)
        return torch.stack([rows[key] for key in keys]).to(self.device, non_blocking=True)

    @torch.no_grad()
    def _compute(self, images: Tensor, mirrored: Tensor) -> Tensor:
        inputs = self.settings.preprocessing.inputs(images.to(self.device, non_blocking=True))
        if mirrored.any():  # never token ids, which cannot be augmented
            turned = mirrored.to(self.device)[:, None, None, None]
            inputs = torch.where(turned, inputs.flip(-1), inputs)
        with autocast(self.device, self.settings.optimizer):
            return self.network.trunk(inputs)

    def _keep(self, key: Key, features: Tensor) -> None:
        if self.bytes + features.nbytes <= self.capacity:
            self.held[key] = features.clone()  # a row would keep its whole batch alive
            self.bytes += features.nbytes


def trunk_cache(
    model: JointModel, settings: TrainSettings, device: torch.device
) -> TrunkCache | None:
    """A cache for a frozen trunk; None where each epoch must compute it anew, which is logged."""
    if settings.optimizer.trunk_factor > 0:
        return None
    capacity = int(settings.scaling.trunk_cache_gib * 2**30)
    network, *_ = model.networks.values()
    reason = ""
    if capacity == 0:
        reason = "scaling.trunk_cache_gib is 0"
    elif not settings.data.augment.only_mirrors:
        reason = "data.augment changes the images"
    elif settings.data.mix > 0:
        reason = "with data.mix, ids of samples may be those of two data sets"
    elif not isinstance(network, DividedClassifier):
        reason = f"{settings.model.architecture} is not divided into trunk and head"
    elif not equal_trunks(model):
        reason = "fer and ier have different trunks"
    else:
        return TrunkCache(network, settings, device, capacity)
    logger.info("the frozen trunk is computed anew in each epoch: %s", reason)
    return None


def equal_trunks(model: JointModel) -> bool:
    """Whether all networks have the same backbone, bit by bit."""
    first, *others = (network.backbone() for network in model.networks.values())
    return all(torch.equal(tensor, first[n]) for other in others for n, tensor in other.items())
