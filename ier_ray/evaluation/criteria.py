"""Label-free selection criteria: how promising a network's outputs on unlabeled images are.

Each is a pure function of the logits ``(N, K)`` of N images, and higher is better. They were
proposed to choose models of domain adaptation without target labels, and none is always right: a
network that gives one class to every image has the lowest entropy there is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, logsumexp, softmax

Values = NDArray[np.float64]

TEMPERATURE = 0.05
"""Of the similarities in :func:`soft_neighborhood_density`, as published."""
MOST_NEIGHBORS = 4096
"""Images compared with each other in :func:`soft_neighborhood_density`, evenly spaced."""


def negative_entropy(logits: Values) -> float:
    """Minus the mean entropy of an image's class probabilities, in nats: from ``-ln K`` to 0.

    Source: Morerio, Cavazza and Murino, Minimal-entropy correlation alignment, 2018.
    """
    return -float(entr(softmax(logits, axis=1)).sum(1).mean())


def mutual_information(logits: Values) -> float:
    """Entropy of the mean prediction minus the mean entropy of a prediction, in nats.

    From 0 to ``ln K``: highest where each image gets one class and all classes occur equally
    often.

    Source: Bridle, Heading and MacKay, Unsupervised classifiers, mutual information and phantom
    targets, 1991; as a validator of adaptation: Musgrave, Belongie and Lim, Three new validators,
    2022.
    """
    probabilities = softmax(logits, axis=1)
    return float(entr(probabilities.mean(0)).sum() - entr(probabilities).sum(1).mean())


def nuclear_norm(logits: Values) -> float:
    """Nuclear norm of the matrix of probabilities over its largest value ``√(N · min(N, K))``.

    From near 0 to 1; like :func:`mutual_information` it asks for confident and diverse
    predictions.

    Source: Cui et al., Towards discriminability and diversity: batch nuclear-norm maximization,
    2020.
    """
    probabilities = softmax(logits, axis=1)
    values = np.linalg.svd(probabilities, compute_uv=False)
    return float(values.sum() / np.sqrt(len(logits) * min(logits.shape)))


def soft_neighborhood_density(logits: Values, *, temperature: float = TEMPERATURE) -> float:
    """Mean entropy, in nats, of an image's soft choice among the other images by similarity.

    Similarities are cosines of the class probabilities; where images lie in dense clusters, many
    neighbors are equally near, and the entropy is high. At most :data:`MOST_NEIGHBORS` images are
    compared. An image alone has no neighbor to choose: 0.

    Source: Saito et al., Tune it the right way: unsupervised validation of domain adaptation via
    soft neighborhood density, 2021.
    """
    if len(logits) == 1:
        return 0.0
    if len(logits) > MOST_NEIGHBORS:
        logits = logits[np.linspace(0, len(logits) - 1, MOST_NEIGHBORS).astype(np.int64)]
    probabilities = softmax(logits, axis=1)
    unit = probabilities / np.linalg.norm(probabilities, axis=1, keepdims=True)
    similarity = unit @ unit.T / temperature
    np.fill_diagonal(similarity, -np.inf)
    logs = similarity - logsumexp(similarity, axis=1, keepdims=True)
    np.fill_diagonal(logs, 0.0)
    choice = np.exp(logs)
    np.fill_diagonal(choice, 0.0)
    return float(-(choice * logs).sum(1).mean())
