"""Asynchronous successive halving: which trials may go on after the epochs at which all compete.

A trial decides by itself, from what the others have recorded, and ends by itself: nothing has to be
killed, and a resumed sweep decides as it would have without the interruption.

Source: Li et al., A system for massively parallel hyperparameter tuning, 2020; the variant that
stops trials instead of pausing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Halving:
    """The stopping rule.

    Attributes:
        grace: epochs that every trial gets.
        reduction: at each rung, about one in this many trials goes on.
        epochs: epochs of a whole trial.
    """

    grace: int
    reduction: int
    epochs: int

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which trials are compared: ``grace``, and each ``reduction`` times the
        one before, below ``epochs``."""
        found, rung = [], self.grace
        while rung < self.epochs:
            found.append(rung)
            rung *= self.reduction
        return tuple(found)

    def stops(self, best: float, others: Sequence[float]) -> bool:
        """Whether a trial ends at a rung: its score is below the best ``1 / reduction``.

        Args:
            best: the trial's best score up to the rung.
            others: those of the other trials that have reached the rung.
        """
        return best < float(np.quantile([best, *others], 1 - 1 / self.reduction))
