"""All settings of a training run."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from ier_ray.config import Settings
from ier_ray.data.augmentation import AugmentSettings
from ier_ray.data.transforms import Normalization
from ier_ray.losses import DiscrepancyMode
from ier_ray.models.registry import ModelSettings
from ier_ray.models.weights import WEIGHT_FILES
from ier_ray.storage import absolute


class DataSettings(Settings):
    """Where the two domains come from and how they are fed."""

    fer: str
    """Shard set of facial expressions: a path or s3:// URI made by jobs/ingest.py."""
    ier: str
    """Shard set of generic images."""
    val_fold: int = Field(0, ge=0)
    """Fold held out for validation; all others train."""
    normalization: Normalization = "per_image"
    """per_image (zero mean, unit variance of each image) or imagenet (with ImageNet weights)."""
    balance: float = Field(1.0, ge=0, le=1)
    """Class balancing by repetition: 0 none, 1 equal classes."""
    shuffle_window: int = Field(4, ge=1)
    """Row groups shuffled together; a reader holds this many in memory."""
    mix: float = Field(0.0, ge=0, le=1)
    """Fraction of the IER training images that FER trains on as well (Table 5 of the paper)."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of training images."""


class LossSettings(Settings):
    """Eq. 1 of the paper."""

    balance: float = Field(1.0, ge=0)
    """Weight β of the discrepancy; 0 trains the networks side by side."""
    regularization: float = Field(0.0, ge=0)
    """Weight λ of the dense layers' squared weights."""
    discrepancy: DiscrepancyMode = "same_image"
    """What is compared: both networks on the same_image, paired samples, or class_mean."""


class OptimizerSettings(Settings):
    """Adam."""

    learning_rate: float = Field(8e-5, gt=0)
    """Step size; the paper searches 8e-5 to 8e-4."""
    batch_size: int = Field(16, ge=1)
    """Images of each domain in a step, on each worker."""


class ScheduleSettings(Settings):
    """How long to train, and from what."""

    epochs: int = Field(100, ge=1)
    """Passes over the balanced IER data."""
    warmup_epochs: int = Field(1, ge=0)
    """First epochs with cross-entropy only."""
    pretrained: str | None = None
    """Trunk weights: a torchvision name (VGG16_Weights.IMAGENET1K_V1), or a .pth/.safetensors."""


class ScalingSettings(Settings):
    """Workers and what each may use."""

    num_workers: int = Field(1, ge=1)
    """Data-parallel training workers."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs a worker holds; leave at least one CPU of the cluster for reading data."""
    use_gpu: bool = False
    """One GPU a worker, NCCL between them; otherwise CPU and gloo."""
    max_failures: int = Field(3, ge=0)
    """Times the run restarts from its last checkpoint after losing workers."""


class TrainSettings(Settings):
    """A training run."""

    name: str = Field("train", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: a directory below storage. The same name and settings resume the run."""
    storage: str = "runs"
    """Where runs are kept: a directory all workers share, or an s3:// URI."""
    seed: int = Field(0, ge=0)
    """Seed of initial weights, sample order and dropout."""
    data: DataSettings
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    scaling: ScalingSettings = ScalingSettings()

    def located(self) -> TrainSettings:
        """The same settings with locations that mean the same in every process."""
        data = self.data.model_copy(
            update={"fer": absolute(self.data.fer), "ier": absolute(self.data.ier)}
        )
        schedule = self.schedule
        if schedule.pretrained and Path(schedule.pretrained).suffix in WEIGHT_FILES:
            schedule = schedule.model_copy(update={"pretrained": absolute(schedule.pretrained)})
        changes = {"data": data, "schedule": schedule, "storage": absolute(self.storage)}
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainSettings:
        if self.schedule.warmup_epochs > self.schedule.epochs:
            raise ValueError(
                f"schedule.warmup_epochs ({self.schedule.warmup_epochs}) must not exceed "
                f"schedule.epochs ({self.schedule.epochs})"
            )
        return self
