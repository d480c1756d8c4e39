"""Selection criteria: by which score of an epoch checkpoints, stopping and sweeps choose.

A score is computed on validation rows only, and higher is better. Runs that may read no IER label
have criteria that do without: the accuracy on FER, or functions of the unlabeled IER validation
images (:mod:`ier_ray.evaluation.criteria`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.schema import Domain
from ier_ray.evaluation import criteria

Metrics = Mapping[str, float]
Logits = NDArray[np.float64]


@dataclass(frozen=True)
class OfMetrics:
    """A criterion computed from the epoch's validation metrics and number.

    Attributes:
        network: the network that is measured, with the labels of its domain; None: neither is.
        score: of the metrics, and ``epoch``.
    """

    network: Domain | None
    score: Callable[[Metrics], float]

    @property
    def labels(self) -> tuple[Domain, ...]:
        """The domains whose labels are read."""
        return () if self.network is None else (self.network,)


@dataclass(frozen=True)
class OfLogits:
    """A criterion of the logits ``(N, K)`` of ``ier`` on the unlabeled IER validation images."""

    score: Callable[[Logits], float]
    network: Domain = "ier"
    labels: tuple[Domain, ...] = ()


CRITERIA: dict[str, OfMetrics | OfLogits] = {
    "ier_accuracy": OfMetrics("ier", lambda found: found["ier_accuracy"]),
    "ier_loss": OfMetrics("ier", lambda found: -found["ier_val_loss"]),
    "fer_accuracy": OfMetrics("fer", lambda found: found["fer_accuracy"]),
    "fer_loss": OfMetrics("fer", lambda found: -found["fer_val_loss"]),
    "entropy": OfLogits(criteria.negative_entropy),
    "information": OfLogits(criteria.mutual_information),
    "nuclear_norm": OfLogits(criteria.nuclear_norm),
    "neighborhood": OfLogits(criteria.soft_neighborhood_density),
    "last": OfMetrics(None, lambda found: found["epoch"]),
}
"""Every criterion by its name in the settings: a new one is a function and a line here."""

LABEL_FREE = tuple(name for name, spec in CRITERIA.items() if isinstance(spec, OfLogits))
"""Criteria that need no label; every epoch's record has them, whatever selects."""


def label_free_scores(logits: Logits) -> dict[str, float]:
    """Values of the label-free criteria, by name; NaN where a logit is not finite."""
    finite = bool(np.isfinite(logits).all())
    return {
        name: spec.score(logits) if finite else math.nan
        for name, spec in CRITERIA.items()
        if isinstance(spec, OfLogits)
    }


if TYPE_CHECKING:
    Criterion: TypeAlias = str
else:  # settings accept the names of the table; type checkers cannot read them from it
    Criterion = Literal[tuple(CRITERIA)]
