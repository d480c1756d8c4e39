"""Linear probe: what a linear classifier reads from features that it cannot change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError
from ier_ray.evaluation.metrics import Floats, log_loss

REGULARIZATION = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of C tried: the inverse strength of the L2 penalty."""
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Probe:
    """A fitted probe of d features and K classes."""

    model: Any
    """scikit-learn's pipeline: standardization, then multinomial logistic regression."""
    classes: int
    """K, also where some classes do not occur in training."""
    regularization: float
    """The chosen C."""
    validation_log_loss: dict[float, float]
    """Log loss of the validation images for each C tried."""

    def probabilities(self, features: NDArray[np.floating[Any]]) -> Floats:
        """Class probabilities ``(N, K)`` of features ``(N, d)``; 0 for classes never trained on."""
        return _probabilities(self.model, features, self.classes)


def fit_probe(
    train_features: NDArray[np.floating[Any]],
    train_labels: NDArray[np.int64],
    val_features: NDArray[np.floating[Any]],
    val_labels: NDArray[np.int64],
    *,
    classes: int,
    regularization: Sequence[float] = REGULARIZATION,
) -> Probe:
    """Fit multinomial logistic regression to standardized features.

    C is the value with the lowest log loss on the validation images; of equal ones the first. (The
    log loss, not an accuracy: it uses every image's margin, so it is less noisy on few images.)
    The mean and standard deviation are those of the training features. The loss is convex, so
    the result is determined by the data and there is no seed.

    Source: G. Alain and Y. Bengio, Understanding intermediate layers using linear classifier
    probes, 2016.

    Args:
        train_features: ``(N, d)``.
        train_labels: ``(N,)`` class indices below ``classes``.
        val_features: ``(M, d)``.
        val_labels: ``(M,)``.

    Raises:
        DataError: when the training images are of a single class, or there is no validation image.
    """
    if len(np.unique(train_labels)) < 2 or not len(val_labels):
        raise DataError(
            f"a probe needs training images of two classes and some to validate on, got "
            f"{len(np.unique(train_labels))} classes and {len(val_labels)} validation images"
        )
    models = {c: _fitted(train_features, train_labels, c) for c in regularization}
    losses = {
        c: log_loss(_probabilities(model, val_features, classes), val_labels)
        for c, model in models.items()
    }
    chosen = min(losses, key=lambda c: losses[c])
    return Probe(models[chosen], classes, chosen, losses)


def _fitted(
    features: NDArray[np.floating[Any]], labels: NDArray[np.int64], regularization: float
) -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (a slow import)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    regression = LogisticRegression(C=regularization, max_iter=MAX_ITERATIONS)
    return make_pipeline(StandardScaler(), regression).fit(features.astype(np.float64), labels)


def _probabilities(model: Any, features: NDArray[np.floating[Any]], classes: int) -> Floats:
    found = np.zeros((len(features), classes))
    found[:, model.classes_] = model.predict_proba(features.astype(np.float64))
    return found
