"""The sections of a training run's settings, each checked by itself."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ier_ray.config import JsonMapping, Location, Settings
from ier_ray.data.augmentation import AugmentSettings
from ier_ray.data.parts import SplitRule
from ier_ray.data.schema import Domain
from ier_ray.data.transforms import Normalization
from ier_ray.errors import SettingsError
from ier_ray.losses import DiscrepancyGradient, DiscrepancyMode, Supervision
from ier_ray.storage import absolute
from ier_ray.training.selection import Criterion

SQLITE = "sqlite:///"
"""Prefix of an SQLite file's URI, before its path."""


class DataSettings(Settings):
    """Where the two domains' data come from, and how they are read."""

    fer: Location | None = None
    """Shard set of facial expressions: a path or s3:// URI made by jobs/ingest.py."""
    ier: Location | None = None
    """Shard set of generic images. Both are required, but for schedule.networks fer or ier."""
    split: SplitRule = "folds"
    """How each domain is divided into training, validation (which chooses epochs and trials) and
    test (which chooses nothing). folds: test_fold and val_fold. inner: test_fold, and val_fraction
    of the rest for validation. own: the dataset's own parts, where ingest found any."""
    fer_split: SplitRule | None = None
    """Another rule for FER, such as own for FER13 beside folds for IER. None: as split."""
    test_fold: int = Field(0, ge=0)
    """Fold of the test part."""
    val_fold: int | None = Field(None, ge=0)
    """Fold of the validation part. None: the fold after test_fold."""
    val_fraction: float = Field(0.2, gt=0, lt=1)
    """Fraction of the training rows that inner, and own without a validation part, take for
    validation; groups stay together."""
    allow_empty_classes: bool = False
    """Train although a class of the scheme has no row in a domain whose labels are read: the
    network still has an output for it, which it only learns to avoid."""
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

    @model_validator(mode="after")
    def _folds_are_read(self) -> DataSettings:
        if self.val_fold is not None and "folds" not in (self.split, self.fer_split):
            raise ValueError(
                f"data.val_fold is read by data.split folds only, which is {self.split} here: "
                f"leave it out"
            )
        if self.val_fold == self.test_fold:
            raise ValueError(
                f"data.val_fold and data.test_fold are both {self.test_fold}: what selects cannot "
                f"be tested on; give another val_fold, or none for the next fold"
            )
        return self

    def location(self, domain: Domain) -> str:
        """Shard set of a domain that the run trains on.

        Raises:
            SettingsError: when there is none.
        """
        found = self.fer if domain == "fer" else self.ier
        if found is None:
            raise SettingsError(required(domain))
        return found


def required(domain: Domain) -> str:
    """The message for a domain's missing shard set."""
    return f"data.{domain} is required; set it in the file or with --data.{domain}"


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
    discrepancy_gradient: DiscrepancyGradient = "both"
    """Which networks the discrepancy changes. ier: ier alone is drawn towards fer, which learns
    from its own cross-entropy only."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability that the cross-entropies' targets spread evenly over all classes."""
    supervision: Supervision = "both"
    """Whose labels are read. both: each network learns from its own domain's. fer: no IER label is
    used; both networks learn from the FER labels (unsupervised adaptation); with loss.balance 0
    this is the source-only control."""


class OptimizerSettings(Settings):
    """Adam, its learning rate, and how a step is computed."""

    learning_rate: float = Field(8e-5, gt=0)
    """Learning rate of Adam; the paper searches 8e-5 to 8e-4."""
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    """How the learning rate falls: constant, not at all; cosine, to 0 over schedule.epochs;
    plateau, by half whenever the criterion has not improved for plateau_patience epochs."""
    warmup_steps: int = Field(0, ge=0)
    """First steps over which the learning rate rises linearly, with any schedule."""
    plateau_patience: int = Field(5, ge=1)
    """Epochs without a better score that make a plateau."""
    trunk_factor: float = Field(1.0, ge=0)
    """Factor on the learning rate of the layers that pretrained weights fill. 0 freezes them: they
    keep their weights and running statistics, and only the new layers are trained."""
    frozen_layers: int = Field(0, ge=0)
    """First layers of the trunk that keep their weights, counted as they are listed in the network
    (with emotion_net, 10 of 13 convolutions are before the last block). The others are trained."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of Adam's average of gradients."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of Adam's average of squared gradients."""
    epsilon: float = Field(1e-8, gt=0)
    """Added to the root of that average."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay (AdamW); biases and normalization layers do not decay."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay per step of an exponential moving average of the weights, which is then validated,
    saved and served in their place; it spans about 1 / (1 - ema) steps. None: no average."""
    batch_size: int = Field(16, ge=1)
    """Images of each domain in a forward pass, on each worker."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged for one optimizer step: a larger batch in the memory of
    a small one."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of each network's gradient in a step; longer ones are scaled down to it. None:
    no limit."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks' forward and backward pass. Weights and losses are float32.
    bfloat16 is for GPUs, and for CPUs that have instructions for it: others are slower with it."""
    compile: bool = False
    """Compile the networks with torch.compile: a slow first step, then faster ones."""


class ScheduleSettings(Settings):
    """How long to train, and from which weights."""

    epochs: int = Field(100, ge=1)
    """Passes over the balanced IER data."""
    warmup_epochs: int = Field(1, ge=0)
    """First epochs with cross-entropy only."""
    networks: Literal["both", "fer", "ier"] = "both"
    """Which networks are trained. fer or ier: that one alone at half the cost, as a control
    without adaptation. It needs only its own domain's data, and loss.balance 0; fer with data.mix
    needs those of both."""
    alignment: Literal["per_step", "per_epoch"] = "per_step"
    """When the discrepancy is minimized: per_step, together with the cross-entropy; per_epoch, in
    a second pass over the data of its own after each epoch's cross-entropy."""
    criterion: Criterion | None = None
    """By what the best epoch and trial are chosen, and when to stop, on validation rows:
    ier_accuracy, ier_loss, fer_accuracy, fer_loss; without IER labels entropy, information (mutual
    information), nuclear_norm or neighborhood (soft neighborhood density) of the predictions on the
    IER images; or last (the last epoch). None: ier_accuracy, or fer_accuracy where
    loss.supervision fer forbids IER labels."""
    patience: int | None = Field(None, ge=1)
    """Stop when the criterion has not improved for this many epochs. None: train all epochs."""
    fer_checkpoint: Location | None = None
    """A trained checkpoint (directory or s3:// URI) whose fer network fer starts from. With
    ier_start fer, both do: transfer from a trained FER model."""
    ier_start: Literal["own", "fer"] = "own"
    """Initial weights of ier: its own, or a copy of those that fer starts from."""
    pretrained: Location | None = None
    """Backbone weights of the same architecture (emotion_net: VGG16's): a torchvision name or a
    .pth/.safetensors file."""
    scale_new_layers: bool = True
    """Scale the layers that pretrained weights do not fill by the first batch, so that training
    starts near the loss of even guesses (ln of the number of classes). False: as drawn."""


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
    accelerator_type: str | None = None
    """Type of the workers' GPUs as Ray names it, such as A100. None: any."""
    labels: JsonMapping[str] = Field({})
    """Labels that the workers' nodes must have, such as {"region": "eu"}. In a flag, as JSON."""
    trunk_cache_gib: float = Field(4.0, ge=0)
    """Memory of each worker, in GiB, for the outputs of a frozen trunk (optimizer.trunk_factor 0),
    so that it sees each image once; emotion_net needs 0.3 GiB per 1000 images of 224 pixels. What
    exceeds it is computed in each epoch. data.augment.flip doubles the memory. Not with data.mix,
    nor with data.augment.crop or jitter."""
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
