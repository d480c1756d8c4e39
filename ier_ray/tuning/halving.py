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

    def stops(self, rung: int, own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Whether a trial ends at a rung: its best score is below the best ``1 / reduction``.

        Args:
            own: the trial's scores, one per epoch, at least ``rung``.
            others: the other trials' scores; those that have not reached the rung do not count.
        """
        best = max(own[:rung])
        reached = [max(scores[:rung]) for scores in others if len(scores) >= rung]
        return best < float(np.quantile([best, *reached], 1 - 1 / self.reduction))
