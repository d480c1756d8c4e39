"""One explanation in the engine: what it waits for, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.errors import CancelledError
from ier_ray.explain.demands import Demand, Demands
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine.memo import Memo
from ier_ray.explain.engine.shared import Logits, Portion, SharedNetwork
from ier_ray.explain.evaluators import Interrupt, ScoreFunction
from ier_ray.explain.shapley.game import Scores


@dataclass(frozen=True)
class Job:
    """An explanation to compute.

    Attributes:
        key: equal for jobs with equal results, which are computed once.
        image_key: equal for equal images and baselines of one network.
        network: scores the masked images.
        image, baseline: normalized, ``(C, H, W)``.
        demands: starts the algorithm; it calls the interrupt now and then.
        score: maps logits to the scores that are explained.
        macs: predicted cost.
        remark: added to how the scores were computed.
    """

    key: Hashable
    image_key: Hashable
    network: SharedNetwork
    image: Tensor
    baseline: Tensor
    demands: Callable[[Interrupt], Demands]
    score: ScoreFunction
    macs: float
    remark: str = ""


@dataclass(frozen=True)
class Level:
    """A level is finished: it does not change any more."""

    explanation: Explanation


@dataclass(frozen=True)
class Done:
    """The explanation, or at the deadline what is finished of it."""

    explanation: Explanation
    complete: bool


@dataclass(frozen=True)
class Failed:
    """There will be no explanation."""

    error: Exception


Update = Level | Done | Failed


@dataclass(eq=False)
class Listener:
    """Somebody who waits for an explanation.

    Attributes:
        notify: called from a thread of the engine; must return at once.
        deadline: by ``time.monotonic``; then the finished levels are the answer.
    """

    notify: Callable[[Update], None]
    deadline: float = float("inf")


@dataclass(eq=False)
class Explaining:
    """A job at work.

    Attributes:
        served: multiply-accumulates spent on it, more than those of which had come before it.
        place: of its image in the network, once it has one.
        waits: whether rows are to be scored; otherwise it is being planned.
        unknown: rows of the demand that are to be scored; the first ``scored`` of them are.
    """

    job: Job
    served: float
    listeners: list[Listener] = field(default_factory=list)
    place: int | None = None
    waits: bool = False
    cancelled: bool = False
    spent: float = 0.0
    finished: Explanation | None = None
    demand: Demand | None = None
    unknown: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    scored: int = 0
    _demands: Demands | None = None
    _keys: list[bytes] = field(default_factory=list)
    _logits: Logits = field(default_factory=lambda: np.empty((0, 0)))
    _costs: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def costs(self) -> NDArray[np.float64]:
        """Multiply-accumulates of each row that is to be scored next."""
        return self._costs[self.scored :]

    @property
    def macs_left(self) -> float:
        """Predicted cost of what is left."""
        return max(0.0, self.job.macs - self.spent)

    def plan(self, memo: Memo) -> Explanation | None:
        """Go on to the next masked images that nobody has scored yet, or to the end.

        Returns:
            The whole explanation at the end, else None: it waits for scores.

        Raises:
            CancelledError: when nobody waits any longer.
        """
        while True:
            try:
                demand = self._next_demand()
            except StopIteration as end:
                return self.named(end.value)
            if demand.finished is not None:
                self.finished = self.named(demand.finished())
                self.tell(Level(self.finished))
            keys = demand.masking.keys()
            logits = np.empty((len(keys), self.job.network.classes))
            unknown = memo.fill(self.job.image_key, keys, logits)
            costs = self.job.network.costs(demand.masking[unknown])
            self._keys, self._logits, self._costs = keys, logits, costs
            self.unknown, self.scored, self.demand = unknown, 0, demand
            if len(unknown):
                return None

    def portion(self, rows: int) -> Portion:
        """The next rows to score."""
        if self.demand is None or self.place is None:
            raise AssertionError("an explanation without demand or place has nothing to score")
        chosen = self.unknown[self.scored : self.scored + rows]
        return Portion(self.place, self.demand.masking[chosen])

    def take(self, logits: Logits, memo: Memo) -> None:
        """The logits of :meth:`portion`."""
        rows = self.unknown[self.scored : self.scored + len(logits)]
        self._logits[rows] = logits
        memo.add(self.job.image_key, [self._keys[row] for row in rows], logits)
        self.charge(float(self._costs[self.scored : self.scored + len(logits)].sum()))
        self.scored += len(logits)

    def charge(self, macs: float) -> None:
        """Account for work done for this explanation."""
        self.served += macs
        self.spent += macs

    def tell(self, update: Update) -> None:
        """Notify all who wait."""
        for listener in list(self.listeners):
            listener.notify(update)

    def named(self, explanation: Explanation) -> Explanation:
        """The explanation with how its scores were computed."""
        return replace(explanation, inference=self.job.network.inference + self.job.remark)

    def _next_demand(self) -> Demand:
        if self._demands is None:
            self._demands = self.job.demands(self._interrupt)
            return next(self._demands)
        return self._demands.send(self._scores())

    def _scores(self) -> Scores:
        scores: Scores = self.job.score(torch.from_numpy(self._logits)).numpy()
        return scores

    def _interrupt(self) -> None:
        if self.cancelled:
            raise CancelledError("nobody waits for the explanation any longer")
