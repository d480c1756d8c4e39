"""All settings of a training run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ier_ray.config import Settings
from ier_ray.data.augmentation import AugmentSettings
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.transforms import Normalization
from ier_ray.losses import DISCREPANCIES, DiscrepancyMode, Supervision
from ier_ray.models.registry import ModelSettings
from ier_ray.models.weights import WEIGHT_FILES
from ier_ray.storage import absolute

SQLITE = "sqlite:///"
"""Prefix of an SQLite file's URI, before its path."""


class DataSettings(Settings):
    """Where the two domains' data come from, and how they are read."""

    fer: str
    """Shard set of facial expressions: a path or s3:// URI made by jobs/ingest.py."""
    ier: str
    """Shard set of generic images."""
    val_fold: int = Field(0, ge=0)
    """Fold held out for validation; all other folds are for training."""
    normalization: Normalization = "per_image"
    """per_image (zero mean, unit variance of each image) or imagenet (with ImageNet weights)."""
    balance: float = Field(1.0, ge=0, le=1)
    """Class balancing by repetition: 0 none, 1 equal classes."""
    shuffle_window: int = Field(4, ge=1)
    """Row groups that are shuffled together; a reader holds this many in memory."""
    mix: float = Field(0.0, ge=0, le=1)
    """Fraction of the IER training images that FER trains on as well (Table 5 of the paper)."""
    augment: AugmentSettings = AugmentSettings()
    """Random changes of training images; none with caption_bert."""


class LossSettings(Settings):
    """Eq. 1 of the paper."""

    balance: float = Field(1.0, ge=0)
    """Weight β of the discrepancy; 0 trains the networks side by side."""
    regularization: float = Field(0.0, ge=0)
    """Weight λ of the dense layers' squared weights."""
    discrepancy: DiscrepancyMode = "same_image"
    """Eq. 3 of both networks on the same_image, of paired samples, of class_mean, or of the mean
    outputs on each one's own domain; hidden (features before the last dense layer, same images);
    or one from domain adaptation: mcd (classifier discrepancy), mmd, coral (distances of those
    features), dann (a discriminator on them; a balance above 1 may make them diverge). paired,
    class_mean, outputs, mmd and coral compare samples within one batch on one worker."""
    supervision: Supervision = "both"
    """Whose labels are read. both: each network learns from its own domain's. fer: no IER label is
    used; both networks learn from the FER labels (unsupervised adaptation); with loss.balance 0
    this is the source-only control."""


class OptimizerSettings(Settings):
    """Adam, and how a step is computed."""

    learning_rate: float = Field(8e-5, gt=0)
    """Learning rate of Adam; the paper searches 8e-5 to 8e-4."""
    batch_size: int = Field(16, ge=1)
    """Images of each domain in a forward pass, on each worker."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged for one optimizer step: a larger batch in the memory of
    a small one."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of a step's gradient; longer ones are scaled down to it. None: no limit."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks' forward and backward pass. Weights and losses are float32."""
    compile: bool = False
    """Compile the networks with torch.compile: a slow first step, then faster ones."""


class ScheduleSettings(Settings):
    """How long to train, and from which weights."""

    epochs: int = Field(100, ge=1)
    """Passes over the balanced IER data."""
    warmup_epochs: int = Field(1, ge=0)
    """First epochs with cross-entropy only."""
    alignment: Literal["per_step", "per_epoch"] = "per_step"
    """When the discrepancy is minimized: per_step, together with the cross-entropy; per_epoch, in
    a second pass over the data of its own after each epoch's cross-entropy."""
    patience: int | None = Field(None, ge=1)
    """Stop when ier_val_loss has not fallen for this many epochs. None: train all epochs."""
    fer_checkpoint: str | None = None
    """A trained checkpoint (directory or s3:// URI) whose fer network fer starts from. With
    ier_start fer, both do: transfer from a trained FER model."""
    ier_start: Literal["own", "fer"] = "own"
    """Initial weights of ier: its own, or a copy of those that fer starts from."""
    pretrained: str | None = None
    """Backbone weights of the same architecture (emotion_net: VGG16's): a torchvision name or a
    .pth/.safetensors file."""


class ScalingSettings(Settings):
    """Workers and what each may use."""

    num_workers: int = Field(1, ge=1)
    """Data-parallel training workers."""
    min_workers: int | None = Field(None, ge=1)
    """Elastic training: if lost workers are not replaced, continue with at least this many, and
    return to num_workers once resources allow. The batch of a step shrinks with them. None:
    always num_workers."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs reserved by each worker; leave at least one CPU of the cluster for reading data."""
    use_gpu: bool = False
    """One GPU per worker and NCCL; otherwise CPUs and Gloo."""
    max_failures: int = Field(3, ge=0)
    """Times the run restarts from its last checkpoint after losing workers."""

    @property
    def fewest_workers(self) -> int:
        """The smallest number of workers that a run trains with."""
        return self.min_workers or self.num_workers

    @model_validator(mode="after")
    def _no_more_than_all(self) -> ScalingSettings:
        if self.fewest_workers > self.num_workers:
            raise ValueError(
                f"min_workers ({self.min_workers}) must not exceed num_workers ({self.num_workers})"
            )
        return self


class TrackingSettings(Settings):
    """Where epochs are logged besides TensorBoard's files."""

    mlflow: str | None = None
    """URI of an MLflow server (http://HOST:5000), or of an SQLite file if everything runs on
    one machine (sqlite:///mlflow.db). Needs the extra mlflow. None: TensorBoard alone."""
    experiment: str = Field("ier_ray", min_length=1)
    """MLflow experiment of the run, created if there is none."""

    def located(self) -> TrackingSettings:
        """The same settings with an absolute path of the SQLite file, valid in every process."""
        if self.mlflow is None or not self.mlflow.startswith(SQLITE):
            return self
        file = absolute(self.mlflow.removeprefix(SQLITE))
        return self.model_copy(update={"mlflow": f"{SQLITE}{file}"})

    @field_validator("mlflow")
    @classmethod
    def _server_or_file(cls, uri: str | None) -> str | None:
        if uri is not None and not re.match(rf"(https?://|{SQLITE})[^/\s]|{SQLITE}/[^/\s]", uri):
            raise ValueError(
                "must be the URI of an MLflow server (http://HOST:5000) or of an SQLite file "
                "(sqlite:///mlflow.db)"
            )
        return uri


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
    tracking: TrackingSettings = TrackingSettings()

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the networks' input."""
        return Preprocessing(
            self.model.image_size, self.data.normalization, self.model.reads_captions
        )

    def located(self) -> TrainSettings:
        """The same settings with absolute locations, valid in every process."""
        data = self.data.model_copy(
            update={"fer": absolute(self.data.fer), "ier": absolute(self.data.ier)}
        )
        schedule = self.schedule
        if schedule.pretrained and Path(schedule.pretrained).suffix in WEIGHT_FILES:
            schedule = schedule.model_copy(update={"pretrained": absolute(schedule.pretrained)})
        if schedule.fer_checkpoint:
            start = absolute(schedule.fer_checkpoint)
            schedule = schedule.model_copy(update={"fer_checkpoint": start})
        changes = {
            "data": data,
            "schedule": schedule,
            "storage": absolute(self.storage),
            "tracking": self.tracking.located(),
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainSettings:
        if self.schedule.warmup_epochs > self.schedule.epochs:
            raise ValueError(
                f"schedule.warmup_epochs ({self.schedule.warmup_epochs}) must not exceed "
                f"schedule.epochs ({self.schedule.epochs})"
            )
        return self

    @model_validator(mode="after")
    def _captions_stay_as_they_are(self) -> TrainSettings:
        if self.model.reads_captions and self.data.augment != AugmentSettings():
            raise ValueError(
                f"data.augment ({self.data.augment}) changes images, model.architecture "
                f"{self.model.architecture} reads captions: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _discrepancy_is_possible(self) -> TrainSettings:
        mode = self.loss.discrepancy
        spec = DISCREPANCIES[mode]
        if self.loss.supervision == "fer" and self.loss.balance > 0 and spec.reads_labels:
            raise ValueError(
                f"loss.discrepancy {mode} reads IER labels, which loss.supervision fer forbids; "
                f"use another discrepancy, or loss.balance 0"
            )
        if self.schedule.alignment == "per_epoch" and spec.adversarial:
            raise ValueError(
                f"schedule.alignment per_epoch minimizes the discrepancy alone; {mode} is "
                f"adversarial and needs the cross-entropy in the same step: use per_step"
            )
        if self.optimizer.compile and spec.needs_features:
            raise ValueError(
                f"optimizer.compile cannot be used with loss.discrepancy {mode}: compiled networks "
                f"do not give the features it compares"
            )
        return self
