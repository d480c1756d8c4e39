"""All settings of a training run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ier_ray.config import Settings
from ier_ray.data.augmentation import AugmentSettings
from ier_ray.data.parts import SplitPlan, SplitRule
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.data.transforms import Normalization
from ier_ray.errors import SettingsError
from ier_ray.losses import DISCREPANCIES, DiscrepancyGradient, DiscrepancyMode, Supervision
from ier_ray.models.registry import ModelSettings
from ier_ray.models.weights import WEIGHT_FILES
from ier_ray.storage import absolute
from ier_ray.training.selection import CRITERIA, Criterion

SQLITE = "sqlite:///"
"""Prefix of an SQLite file's URI, before its path."""


class DataSettings(Settings):
    """Where the two domains' data come from, and how they are read."""

    fer: str | None = None
    """Shard set of facial expressions: a path or s3:// URI made by jobs/ingest.py."""
    ier: str | None = None
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
    """Precision of the networks' forward and backward pass. Weights and losses are float32."""
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
    without adaptation. It needs only its own domain's data, and loss.balance 0."""
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
    fer_checkpoint: str | None = None
    """A trained checkpoint (directory or s3:// URI) whose fer network fer starts from. With
    ier_start fer, both do: transfer from a trained FER model."""
    ier_start: Literal["own", "fer"] = "own"
    """Initial weights of ier: its own, or a copy of those that fer starts from."""
    pretrained: str | None = None
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

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains whose networks are trained."""
        alone = self.schedule.networks
        return ("fer", "ier") if alone == "both" else (alone,)

    def reads_labels(self, domain: Domain) -> bool:
        """Whether any label of a domain is read: to train, balance, divide the rows or select."""
        return domain == "fer" or self.loss.supervision == "both"

    @property
    def criterion(self) -> Criterion:
        """The selection criterion."""
        labeled = [domain for domain in self.domains if self.reads_labels(domain)]
        return self.schedule.criterion or f"{labeled[-1]}_accuracy"

    def split_plan(self, domain: Domain) -> SplitPlan:
        """How a domain's rows are divided into parts."""
        data = self.data
        rule = (data.fer_split if domain == "fer" else None) or data.split
        return SplitPlan(
            rule=rule,
            test_fold=data.test_fold,
            val_fold=data.val_fold if rule == "folds" else None,
            val_fraction=data.val_fraction,
            seed=self.seed,
            reads_labels=self.reads_labels(domain),
        )

    def class_balance(self, domain: Domain) -> float:
        """Strength of class balancing; 0 where a domain's labels may not be read."""
        return self.data.balance if self.reads_labels(domain) else 0.0

    def located(self) -> TrainSettings:
        """The same settings with absolute locations, valid in every process."""
        data = self.data.model_copy(
            update={domain: absolute(self.data.location(domain)) for domain in self.domains}
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
    def _data_are_given(self) -> TrainSettings:
        for domain in self.domains:
            if getattr(self.data, domain) is None:
                raise ValueError(required(domain))
        return self

    @model_validator(mode="after")
    def _one_network_is_alone(self) -> TrainSettings:
        alone, schedule = self.schedule.networks, self.schedule
        if alone == "both":
            return self
        transfer = alone == "ier" and schedule.fer_checkpoint is not None
        unlike = {
            f"loss.balance must be 0, got {self.loss.balance:g}": self.loss.balance > 0,
            f"loss.supervision must be both, got {self.loss.supervision}": (
                self.loss.supervision != "both"
            ),
            f"loss.discrepancy {self.loss.discrepancy} has a discriminator of both": (
                DISCREPANCIES[self.loss.discrepancy].needs_discriminator
            ),
            f"data.mix must be 0, got {self.data.mix:g}": self.data.mix > 0,
            "schedule.ier_start must be fer with schedule.fer_checkpoint, own without": (
                (schedule.ier_start == "fer") != transfer
            ),
        }
        problems = [problem for problem, found in unlike.items() if found]
        if problems:
            raise ValueError(f"schedule.networks {alone} trains one network: {problems[0]}")
        return self

    @model_validator(mode="after")
    def _label_free_runs_read_no_label(self) -> TrainSettings:
        if self.reads_labels("ier"):
            return self
        if "ier" in CRITERIA[self.criterion].labels:
            allowed = [name for name, spec in CRITERIA.items() if "ier" not in spec.labels]
            raise ValueError(
                f"schedule.criterion {self.criterion} reads IER labels, which loss.supervision fer "
                f"forbids; use one of {', '.join(allowed)}"
            )
        if self.data.mix > 0:
            raise ValueError(
                f"data.mix ({self.data.mix:g}) trains FER on labeled IER images, which "
                f"loss.supervision fer forbids; set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _criterion_has_its_network(self) -> TrainSettings:
        network = CRITERIA[self.criterion].network
        if network is not None and network not in self.domains:
            allowed = [n for n, spec in CRITERIA.items() if spec.network in (None, *self.domains)]
            raise ValueError(
                f"schedule.criterion {self.criterion} measures the {network} network, which "
                f"schedule.networks {self.schedule.networks} does not train; use one of "
                f"{', '.join(allowed)}"
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
