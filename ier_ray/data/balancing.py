"""Class balancing by repeating and leaving out rows, which needs no global shuffle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hash_ids(sample_ids: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit hash per sample, the same in every process and on every machine."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in sample_ids)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def uniforms(hashes: NDArray[np.uint64], *, seed: int, epoch: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each sample, a pure function of (seed, epoch, sample)."""
    key = np.random.SeedSequence((seed, epoch)).generate_state(1, dtype=np.uint64)[0]
    with np.errstate(over="ignore"):
        mixed = (hashes ^ key) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    numbers: NDArray[np.float64] = np.ldexp((mixed >> np.uint64(11)).astype(np.float64), -53)
    return numbers


def class_weights(counts: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
    """Mean repetitions of a row of each class: ``(target / count) ** strength``.

    ``target`` is the mean count of the classes that occur. ``strength`` 1 balances fully (small
    classes are repeated, large ones thinned out); 0 changes nothing. Absent classes get 0.
    """
    present = counts > 0
    target = counts[present].mean()
    weights = np.zeros(len(counts))
    weights[present] = (target / counts[present]) ** strength
    return weights


def repetitions(
    labels: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    *,
    strength: float,
    seed: int,
    epoch: int,
) -> NDArray[np.int64]:
    """How often each row occurs in an epoch: ``floor(w) + Bernoulli(frac(w))``, w its weight."""
    weights = class_weights(np.bincount(labels).astype(np.int64), strength)[labels]
    whole = np.floor(weights)
    extra = uniforms(hashes, seed=seed, epoch=epoch) < weights - whole
    return (whole + extra).astype(np.int64)
