"""Units of work: what is trained or measured once, whatever cells it serves; and their keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from ier_ray.config import Settings
from ier_ray.data.schema import Domain
from ier_ray.experiments.grid import Kind
from ier_ray.training.settings import TrainSettings

VERSION = 1
"""Part of every key: raised when results of earlier versions must not be used any more."""
NOT_IN_KEY = {"name", "storage", "tracking"}
"""Settings that do not change a result."""


@dataclass(frozen=True)
class Unit:
    """A training, or a measurement.

    Attributes:
        kind: what it is.
        train: its training; of explainers, the subject's.
        hashes: content hash of the data of each domain.
        tested: the network that is tested.
        method: which control or explainer.
        options: of its kind, such as the number of explained images.
        checkpoint: whose network is explained; None: one is trained. Its hash is in the key.
        weights: hash of the checkpoint's weights.
    """

    kind: Kind
    train: TrainSettings
    hashes: dict[Domain, str]
    tested: Domain = "ier"
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    weights: str | None = None

    @property
    def key(self) -> str:
        """Name of its result: a hash of all that the result depends on.

        Locations of data are not among these, but the hashes of their content are; nor is the
        number of CPUs or retries.
        """
        settings = self.train.model_dump(mode="json", exclude=NOT_IN_KEY)
        scaling = settings.pop("scaling")
        for domain in ("fer", "ier"):
            del settings["data"][domain]
        content = {
            "version": VERSION,
            "kind": self.kind,
            "settings": settings,
            "workers": scaling["num_workers"],
            "data": self.hashes,
            "tested": self.tested,
            "method": self.method,
            "options": self.options,
            "weights": self.weights,
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def in_process(self) -> bool:
        """Whether it runs inside a worker of the experiment; other units are Ray Train runs."""
        scaling = self.train.scaling
        alone = scaling.num_workers == 1 and not scaling.use_gpu
        return self.kind != "training" or alone


class UnitResult(Settings):
    """The outcome of a unit, as it is stored."""

    key: str
    """Key of the unit."""
    kind: Kind
    """What it is."""
    failed: str | None = None
    """Why it failed; None: it did not."""
    test_fold: int
    """Fold that it was tested on."""
    seed: int
    """Seed of its training."""
    settings: dict[str, Any]
    """All settings of its training."""
    hashes: dict[Domain, str]
    """Content hash of the data of each domain."""
    method: str | None = None
    """Which control or explainer."""
    measures: dict[str, float | None] = Field({})
    """What was measured, by name."""
    rows: dict[str, int] = Field({})
    """Rows that trained and that were tested."""
    seconds: float = 0.0
    """Wall-clock seconds that it took."""
    cpu_seconds: float = 0.0
    """Processor seconds of the process that ran it."""
    hardware: dict[str, Any] = Field({})
    """Processor, threads and peak memory of the process that ran it."""

    @classmethod
    def of(cls, unit: Unit, **values: Any) -> UnitResult:
        """The outcome of a unit."""
        return cls(
            key=unit.key,
            kind=unit.kind,
            test_fold=unit.train.data.test_fold,
            seed=unit.train.seed,
            settings=unit.train.model_dump(mode="json"),
            hashes=unit.hashes,
            method=unit.method,
            **values,
        )
