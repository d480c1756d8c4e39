"""One explanation in the engine: what it waits for, and who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ier_ray.errors import CancelledError
from ier_ray.explain.demands import Demand
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.engine.jobs import Job, Result
from ier_ray.explain.engine.memo import Memo
from ier_ray.explain.engine.observer import Observer
from ier_ray.explain.engine.shared import Logits, Portion
from ier_ray.explain.masking import MaskedImages
from ier_ray.explain.shapley.game import Scores

MOST_HELPERS = 32
"""Loans of one explanation at a time."""


@dataclass(frozen=True)
class Spent:
    """What a job has cost so far; scores that were known already cost nothing.

    Attributes:
        rows: masked images scored.
        macs: multiply-accumulates, those of the image's activations included.
    """

    rows: int = 0
    macs: float = 0.0


@dataclass(frozen=True)
class Scored:
    """Masked images of one image, and their logits.

    Attributes:
        keys: what tells each from others of the image (:meth:`MaskedImages.keys`).
        logits: ``(M, K)``.
    """

    keys: Sequence[bytes]
    logits: Logits


@dataclass(frozen=True)
class Level:
    """A level is finished: it does not change any more.

    Attributes:
        scored: all masked images that it is made of, in parts as they were demanded.
    """

    explanation: Explanation
    spent: Spent = Spent()
    scored: tuple[Scored, ...] = ()


@dataclass(frozen=True)
class Done:
    """The result, or at the deadline what is finished of it.

    Attributes:
        scored: as of :class:`Level`.
    """

    result: Result
    complete: bool
    spent: Spent = Spent()
    scored: tuple[Scored, ...] = ()


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
        is_patient: whether others need not wait for this one's work.
        context: of the call that waits; what it waits for is logged there.
    """

    notify: Callable[[Update], None]
    deadline: float = float("inf")
    is_patient: bool = False
    context: Context = field(default_factory=copy_context)

    def within(self, call: Callable[[], None]) -> None:
        """Call something in the context of the call that waits."""
        self.context.copy().run(call)  # a context runs in one thread at a time


@dataclass(eq=False)
class Loan:
    """Rows of a demand that somebody else scores.

    Attributes:
        rows: which of the demand's.
        costs: multiply-accumulates of each.
        masking: the masked images.
    """

    rows: NDArray[np.int64]
    costs: NDArray[np.float64]
    masking: MaskedImages


@dataclass(eq=False)
class Explaining:
    """A job at work.

    Attributes:
        served: multiply-accumulates spent on it, more than those of which had come before it.
        predicted_s: how long it would take alone, by the speed when it was submitted.
        submitted: when that was, by ``time.monotonic``.
        level: the deepest that is finished.
        place: of its image in the network, once it has one.
        waits: whether rows are to be scored; otherwise it is being planned.
        unknown: rows of the demand that are to be scored here. The first ``scored`` of them are,
            the next ``computed`` are being scored.
        spent, rows: multiply-accumulates and rows scored so far, by others too.
        loans: rows that others score.
        helpers: how many may.
        answered: the demands before this one, with their scores.
    """

    job: Job
    served: float
    predicted_s: float
    listeners: list[Listener]
    submitted: float = field(default_factory=time.monotonic)
    level: int = -1
    place: int | None = None
    waits: bool = False
    cancelled: bool = False
    spent: float = 0.0
    rows: int = 0
    finished: Explanation | None = None
    demand: Demand | None = None
    unknown: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    scored: int = 0
    computed: int = 0
    loans: list[Loan] = field(default_factory=list)
    helpers: int = 1
    answered: tuple[Scored, ...] = ()
    _demands: Generator[Demand, Scores, Result] | None = None
    _keys: list[bytes] = field(default_factory=list)
    _logits: Logits = field(default_factory=lambda: np.empty((0, 0)))
    _costs: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def costs(self) -> NDArray[np.float64]:
        """Multiply-accumulates of each row that is to be scored next."""
        return self._costs[self.scored :]

    @property
    def cost(self) -> Spent:
        """What it has cost so far."""
        return Spent(self.rows, self.spent)

    @property
    def seconds(self) -> float:
        """Since it was submitted."""
        return time.monotonic() - self.submitted

    @property
    def macs_left(self) -> float:
        """Predicted cost of what is left."""
        return max(0.0, self.job.macs - self.spent)

    @property
    def is_patient(self) -> bool:
        """Whether all who wait are patient."""
        return all(each.is_patient for each in self.listeners)

    @property
    def is_scored(self) -> bool:
        """Whether nothing of the demand is left to score, here or by others."""
        return self.scored == len(self.unknown) and not self.loans

    def plan(self, memo: Memo, observer: Observer) -> Result | None:
        """Go on to the next masked images that nobody has scored yet, or to the end.

        Returns:
            The result at the end, else None: it waits for scores.

        Raises:
            CancelledError: when nobody waits any longer.
        """
        while True:
            try:
                demand = self._next_demand()
            except StopIteration as end:
                result: Result = end.value
                if isinstance(result, Explanation):
                    self._reach(result, observer)
                return result
            if demand.finished is not None:
                self.finished = demand.finished()
                self._reach(self.finished, observer)
                self.tell(Level(self.finished, self.cost, self.answered))
            keys = demand.masking.keys()
            logits = np.empty((len(keys), self.job.network.classes))
            unknown, by_others = memo.fill(self.job.image_key, self.job.key, keys, logits)
            known = len(keys) - len(unknown)
            if known:
                observer.rows_known(self.job, repeated=known - by_others, deepening=by_others)
            costs = self.job.network.costs(demand.masking[unknown])
            self._keys, self._logits, self._costs = keys, logits, costs
            self.unknown, self.scored, self.demand = unknown, 0, demand
            self.helpers = max(1, self.helpers)
            if len(unknown):
                return None

    def portion(self, rows: int) -> Portion:
        """The next rows, to be scored now."""
        if self.demand is None or self.place is None:
            raise AssertionError("an explanation without demand or place has nothing to score")
        self.computed = rows
        chosen = self.unknown[self.scored : self.scored + rows]
        return Portion(self.place, self.demand.masking[chosen])

    def take(self, logits: Logits, memo: Memo) -> None:
        """The logits of :meth:`portion`."""
        rows = self.unknown[self.scored : self.scored + len(logits)]
        self._logits[rows] = logits
        self._remember(rows, logits, memo)
        self.charge(float(self._costs[self.scored : self.scored + len(logits)].sum()))
        self.scored, self.computed = self.scored + len(logits), 0
        self.rows += len(logits)

    def lendable(self) -> NDArray[np.float64]:
        """Costs of the rows that are neither scored nor being scored, the last ones first."""
        return self._costs[self.scored + self.computed :][::-1]

    def lend(self, macs: float) -> Loan:
        """The last rows, of about this cost, for somebody else to score; one stays at least."""
        if self.demand is None:
            raise AssertionError("an explanation without demand has nothing to lend")
        spent = self.lendable()[:-1].cumsum()
        count = max(1, int(np.searchsorted(spent, macs, side="right")))
        kept = len(self.unknown) - count
        rows = self.unknown[kept:]
        loan = Loan(rows, self._costs[kept:], self.demand.masking[rows])
        self.unknown, self._costs = self.unknown[:kept], self._costs[:kept]
        self.loans.append(loan)
        return loan

    def repay(self, loan: Loan, logits: Logits | None, memo: Memo) -> None:
        """Somebody has scored the rows; or, with None, they are to be scored here again."""
        self.loans.remove(loan)
        if logits is None:
            self.helpers = len(self.loans)
            self.unknown = np.concatenate([self.unknown, loan.rows])
            self._costs = np.concatenate([self._costs, loan.costs])
            return
        self.helpers = min(MOST_HELPERS, self.helpers + 1)
        self._logits[loan.rows] = logits
        self._remember(loan.rows, logits, memo)
        self.spent += float(loan.costs.sum())
        self.rows += len(loan.rows)

    def charge(self, macs: float) -> None:
        """Account for work done for this explanation."""
        self.served += macs
        self.spent += macs

    def tell(self, update: Update) -> None:
        """Notify all who wait."""
        for listener in list(self.listeners):
            listener.notify(update)

    def _remember(self, rows: NDArray[np.int64], logits: Logits, memo: Memo) -> None:
        memo.add(self.job.image_key, self.job.key, [self._keys[row] for row in rows], logits)

    def _reach(self, finished: Explanation, observer: Observer) -> None:
        """A level is finished, or what refines the last one."""
        if finished.tree.depth > self.level and not self.cancelled:
            self.level = finished.tree.depth
            observer.level_finished(self.job, self.level, self.seconds)

    def _next_demand(self) -> Demand:
        if self._demands is None:
            self._demands = self.job.demands(self._interrupt)
            return next(self._demands)
        if self._keys:  # a refinement begins with a demand of nothing
            self.answered += (Scored(self._keys, self._logits),)
        return self._demands.send(self._scores())

    def _scores(self) -> Scores:
        scores: Scores = self.job.score(torch.from_numpy(self._logits)).numpy()
        return scores

    def _interrupt(self) -> None:
        if self.cancelled:
            raise CancelledError("nobody waits for the explanation any longer")
