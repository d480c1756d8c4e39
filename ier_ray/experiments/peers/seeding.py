"""Seeding of the global random generators that shap and captum draw from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of numpy and torch, seeded inside the block and restored after it."""
    state = np.random.get_state()  # noqa: NPY002 (the one that the libraries use)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
