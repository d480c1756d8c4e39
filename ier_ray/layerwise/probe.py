"""What a linear classifier reads from a layer, on images that it was not fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ier_ray.layerwise.pca import Floats

FOLDS = 5
STRENGTHS = np.logspace(-4, 4, 17)
"""Penalties tried, for coordinates whose mean squared length is 1."""


def probe_predictions(
    coordinates: Floats, labels: NDArray[np.int64], *, seed: int, folds: int = FOLDS
) -> NDArray[np.int64] | None:
    """The class ``(N,)`` of each image by ridge regression on the images of the other folds.

    The penalty is chosen within these by leaving one out. It is spherical: rotated coordinates, as
    those of :func:`~ier_ray.layerwise.pca.coordinates`, give what the embeddings themselves would.

    Source: G. Alain and Y. Bengio, Understanding intermediate layers using linear classifier
    probes, 2016.

    Args:
        coordinates: ``(N, R)``.
        labels: ``(N,)``; folds have the same share of each class.

    Returns:
        None when there are not two classes, or a class has one image: there is nothing to fit or
        nothing to predict.
    """
    from sklearn.linear_model import RidgeClassifierCV  # noqa: PLC0415 (a slow import)
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415

    counts = np.bincount(labels)
    smallest = int(counts[counts > 0].min())
    if (counts > 0).sum() < 2 or smallest < 2:
        return None
    length = np.sqrt(np.square(coordinates).sum(1).mean())
    scaled = coordinates / length if length > 0 else np.zeros((len(labels), 1))
    divided = StratifiedKFold(min(folds, smallest), shuffle=True, random_state=seed)
    found: NDArray[np.int64] = cross_val_predict(
        RidgeClassifierCV(alphas=STRENGTHS), scaled, labels, cv=divided
    )
    return found
