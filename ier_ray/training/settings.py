"""All settings of a training run, and how its sections go together."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from ier_ray.config import Location, Seed, Settings
from ier_ray.data.augmentation import AugmentSettings
from ier_ray.data.parts import SplitPlan
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.schema import Domain
from ier_ray.losses import DISCREPANCIES
from ier_ray.models.registry import ModelSettings
from ier_ray.models.weights import WEIGHT_FILES
from ier_ray.storage import absolute
from ier_ray.training.sections import (
    DataSettings,
    LossSettings,
    OptimizerSettings,
    ScalingSettings,
    ScheduleSettings,
    TrackingSettings,
    required,
)
from ier_ray.training.selection import CRITERIA, Criterion


class TrainSettings(Settings):
    """A training run."""

    name: str = Field("train", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: a directory below storage. The same name and settings resume the run."""
    storage: Location = "runs"
    """Where runs are kept: a directory all workers share, or an s3:// URI."""
    seed: Seed = 0
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

    @property
    def sources(self) -> tuple[Domain, ...]:
        """The domains whose data are read: those trained, and IER where FER is mixed with it."""
        mixes = self.data.mix > 0 and "ier" not in self.domains
        return (*self.domains, "ier") if mixes else self.domains

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
            update={domain: absolute(self.data.location(domain)) for domain in self.sources}
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
        for domain in self.sources:
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
            f"data.mix must be 0, got {self.data.mix:g}": alone == "ier" and self.data.mix > 0,
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
