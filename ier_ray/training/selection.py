"""Selection criteria: by which score of an epoch checkpoints, stopping and sweeps choose.

A score is computed on validation rows only, and higher is better. Runs that may read no IER label
have criteria that do without: the accuracy on FER, or functions of the unlabeled IER validation
images (:mod:`ier_ray.evaluation.criteria`).
"""

from __future__ import annotations

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
class CriterionSpec:
    """A criterion.

    Attributes:
        domain: the domain whose validation rows are read; None for the epoch's number alone.
        of_metrics: the score from the epoch's validation metrics, which read labels.
        of_logits: the score from the logits ``(N, K)`` of the ``ier`` network on the unlabeled IER
            validation images.
    """

    domain: Domain | None
    of_metrics: Callable[[Metrics], float] | None = None
    of_logits: Callable[[Logits], float] | None = None

    @property
    def reads_ier_labels(self) -> bool:
        """Whether the criterion may not be used where IER labels are forbidden."""
        return self.domain == "ier" and self.of_metrics is not None


CRITERIA: dict[str, CriterionSpec] = {
    "ier_accuracy": CriterionSpec("ier", of_metrics=lambda found: found["ier_accuracy"]),
    "ier_loss": CriterionSpec("ier", of_metrics=lambda found: -found["ier_val_loss"]),
    "fer_accuracy": CriterionSpec("fer", of_metrics=lambda found: found["fer_accuracy"]),
    "fer_loss": CriterionSpec("fer", of_metrics=lambda found: -found["fer_val_loss"]),
    "entropy": CriterionSpec("ier", of_logits=criteria.negative_entropy),
    "information": CriterionSpec("ier", of_logits=criteria.mutual_information),
    "nuclear_norm": CriterionSpec("ier", of_logits=criteria.nuclear_norm),
    "neighborhood": CriterionSpec("ier", of_logits=criteria.soft_neighborhood_density),
    "last": CriterionSpec(None, of_metrics=lambda found: found["epoch"]),
}
"""Every criterion by its name in the settings: a new one is a function and a line here."""

if TYPE_CHECKING:
    Criterion: TypeAlias = str
else:  # settings accept the names of the table; type checkers cannot read them from it
    Criterion = Literal[tuple(CRITERIA)]
