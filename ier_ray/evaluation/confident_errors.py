"""The wrong predictions that a network is most certain of."""

from __future__ import annotations

import numpy as np

from ier_ray.evaluation.predictions import Predictions

SHOWN = 12


def most_confident_errors(predictions: Predictions, *, most: int = SHOWN) -> Predictions:
    """Wrong predictions in descending order of the predicted class's probability.

    Ties are broken by the sample id, so the order of rows does not matter.
    """
    wrong = np.flatnonzero(predictions.probabilities.argmax(1) != predictions.labels)
    confidence = predictions.probabilities[wrong].max(1)
    order = np.lexsort((predictions.sample_ids[wrong], -confidence))
    return predictions.select(wrong[order[:most]])
