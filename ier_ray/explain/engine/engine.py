"""The engine: explanations of several users at once, in common batches.

One thread runs the network, a batch after another; each batch is divided fairly among the
explanations that wait. What lies between two batches of one explanation (which masked images come
next, which coalitions refine) is planned in other threads meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread

from ier_ray.errors import CancelledError, DeadlineError
from ier_ray.explain.engine.explaining import (
    Done,
    Explaining,
    Failed,
    Level,
    Listener,
    Loan,
    Scored,
    Update,
)
from ier_ray.explain.engine.fairness import fair_rows
from ier_ray.explain.engine.jobs import Job
from ier_ray.explain.engine.memo import Memo
from ier_ray.explain.engine.observer import SILENT, Observer, Outcome
from ier_ray.explain.engine.places import Places
from ier_ray.explain.engine.shared import Logits, SharedNetwork
from ier_ray.explain.engine.speed import Speed

logger = logging.getLogger(__name__)

PLANNING_S = 0.005
"""Seconds that a batch waits for explanations that are being planned."""
PLANNERS = 2
"""Threads that plan."""
LOAN_S = 0.5
"""Most seconds that somebody else is asked to work at a time."""
KEPT = "kept"
"""Owner of scores that are known from elsewhere."""
MOST_PUT = 8
"""Images that are put into places in one pass."""


@dataclass(frozen=True)
class Ticket:
    """A submitted explanation."""

    cancel: Callable[[], None]
    """Stop waiting; when nobody waits any longer, nothing more is computed after this batch."""


class Engine:
    """Computes explanations for any number of threads.

    Call :meth:`stop` at the end.

    Args:
        lend_s: others are asked for help while the rows that an explanation waits for take longer
            than this, in predicted seconds.
        observer: is told of the work.
    """

    def __init__(self, *, lend_s: float = 1.0, observer: Observer = SILENT) -> None:
        self._lend_s, self._observer = lend_s, observer
        self._changed = Condition()
        self._running: dict[Hashable, Explaining] = {}
        self._places: dict[SharedNetwork, Places] = {}
        self._speeds: defaultdict[SharedNetwork, Speed] = defaultdict(Speed)
        self._memo = Memo()
        self._stopping = False
        self._planners = ThreadPoolExecutor(PLANNERS, thread_name_prefix="planner")
        self._thread = Thread(target=self._run, name="explanation-engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        job: Job,
        notify: Callable[[Update], None],
        *,
        deadline: float = float("inf"),
        is_patient: bool = False,
    ) -> Ticket:
        """Start an explanation, or join an equal one that runs.

        Args:
            notify: gets a :class:`Level` for each level that is finished from now on, and for the
                last one before; then :class:`Done` or :class:`Failed`.
            deadline: by ``time.monotonic``.
            is_patient: whether the one who waits gives way to others: see :meth:`backlog_s`.

        Raises:
            CancelledError: when the engine was stopped.
        """
        listener = Listener(notify, deadline, is_patient)
        with self._changed:
            if self._stopping:
                raise CancelledError("the engine was stopped")
            explaining = self._running.get(job.key)
            if explaining is None:
                others = (each.served for each in self._running.values())
                predicted_s = self.seconds(job.network, job.macs)
                explaining = Explaining(job, min(others, default=0.0), predicted_s, [listener])
                self._running[job.key] = explaining
                self._planners.submit(self._plan, explaining)
            else:
                explaining.listeners.append(listener)
                if explaining.finished is not None:
                    notify(Level(explaining.finished, explaining.cost, explaining.answered))
            self._changed.notify()
        return Ticket(lambda: self._leave(explaining, listener))

    def know(self, image_key: Hashable, scored: Scored) -> None:
        """Take scores that are known from elsewhere: these masked images are not scored again."""
        self._memo.add(image_key, KEPT, scored.keys, scored.logits)

    def seconds(self, network: SharedNetwork, macs: float) -> float:
        """Predicted duration of a cost on an idle engine."""
        return self._speeds[network].seconds(macs)

    def backlog_s(self) -> float:
        """Predicted seconds until all is finished that somebody waits for without patience."""
        with self._changed:
            running = [each for each in self._running.values() if not each.is_patient]
        return sum(self.seconds(each.job.network, each.macs_left) for each in running)

    def is_idle(self) -> bool:
        """Whether nothing runs."""
        with self._changed:
            return not self._running

    def check(self) -> None:
        """Raise RuntimeError if the thread that computes has ended."""
        if not self._thread.is_alive():
            raise RuntimeError("the thread that computes explanations has ended")

    def stop(self) -> None:
        """End the threads; those who wait get a :class:`Failed`."""
        with self._changed:
            self._stopping = True
            running = list(self._running.values())
            for explaining in running:
                self._end(explaining, Failed(CancelledError("the engine was stopped")))
            self._changed.notify()
        self._thread.join()
        self._planners.shutdown()

    def _plan(self, explaining: Explaining) -> None:
        """Go on until rows are to be scored, or to the end."""
        try:
            result = explaining.plan(self._memo, self._observer)
        except CancelledError:
            return  # it has been removed already
        except Exception as error:  # noqa: BLE001 (it is this explanation's alone, and logged)
            self._log(explaining, error, "an explanation failed while it was planned")
            self._finish(explaining, Failed(error), "failed")
            return
        if result is not None:
            done = Done(result, complete=True, spent=explaining.cost, scored=explaining.answered)
            self._finish(explaining, done, "done")
            return
        with self._changed:
            explaining.waits = True
            self._lend(explaining)
            self._changed.notify()

    def _lend(self, explaining: Explaining) -> None:
        """Let others score rows from the end, if what is left takes long here."""
        job = explaining.job
        while job.lend is not None and len(explaining.loans) < explaining.helpers:
            left = explaining.lendable()
            left_s = self.seconds(job.network, left.sum())
            if len(left) < 2 or left_s < self._lend_s:
                return
            loan = explaining.lend(left.sum() * min(LOAN_S / left_s, 0.5))
            job.lend(loan.masking, partial(self._repay, explaining, loan))

    def _repay(self, explaining: Explaining, loan: Loan, logits: Logits | None) -> None:
        """Somebody has scored the rows of a loan, or nobody has."""
        with self._changed:
            if self._running.get(explaining.job.key) is not explaining:
                if logits is not None:
                    self._observer.rows_late(explaining.job, len(logits))
                return
            explaining.repay(loan, logits, self._memo)
            if explaining.is_scored:
                self._planners.submit(self._plan, explaining)
            else:
                explaining.waits = len(explaining.costs) > 0
                self._lend(explaining)
            self._changed.notify()

    def _run(self) -> None:
        """The thread that computes."""
        while True:
            with self._changed:
                self._changed.wait_for(self._all_wait, PLANNING_S)
                self._expire()
                put, scored = self._next()
                if self._stopping:
                    return
                if not put and not scored:
                    self._changed.wait(self._until_deadline())
                    continue
            if put:
                self._together_or_alone(self._put, put)
            else:
                self._together_or_alone(self._score, scored)

    def _all_wait(self) -> bool:
        """Whether no explanation is being planned: those beside it would go on without it."""
        return self._stopping or all(each.waits for each in self._running.values())

    def _next(self) -> tuple[list[Explaining], list[Explaining]]:
        """Explanations whose images are to be put into places, or whose rows are to be scored.

        All are of one network; those served least come first.
        """
        waiting = [each for each in self._running.values() if each.waits]
        waiting.sort(key=lambda each: each.served)
        for network in dict.fromkeys(each.job.network for each in waiting):
            here = [each for each in waiting if each.job.network is network]
            put = [each for each in here if each.place is None and self._takes_new_place(each)]
            if put:
                return put, []
            scored = [each for each in here if each.place is not None]
            if scored:
                return [], scored
        return [], []

    def _takes_new_place(self, explaining: Explaining) -> bool:
        """Give an explanation a place, if there is one; whether its image must be put there."""
        network = explaining.job.network
        places = self._places.setdefault(network, Places(network.places))
        taken = places.take(explaining.job.image_key)
        if taken is None:
            return False
        explaining.place, is_new = taken
        return is_new

    def _put(self, explanations: Sequence[Explaining]) -> None:
        """Put the images of explanations into the places that they took."""
        network = explanations[0].job.network
        for start in range(0, len(explanations), MOST_PUT):
            part = explanations[start : start + MOST_PUT]
            network.put(
                [each.place for each in part if each.place is not None],
                [(each.job.image, each.job.baseline) for each in part],
            )
        with self._changed:
            for each in explanations:
                each.charge(2 * network.whole_macs)

    def _score(self, explanations: Sequence[Explaining]) -> None:
        """Score a batch of rows."""
        network = explanations[0].job.network
        with self._changed:
            quantum = self._speeds[network].quantum
            counts = fair_rows([each.costs for each in explanations], quantum)
            served = [(each, n) for each, n in zip(explanations, counts, strict=True) if n]
            macs = sum(float(each.costs[:n].sum()) for each, n in served)
            portions = [each.portion(n) for each, n in served]
        started = time.perf_counter()
        found = network.logits(portions)
        seconds = time.perf_counter() - started
        with self._changed:
            self._observer.batch_scored(
                network,
                rows=sum(map(len, found)),
                explanations=len(served),
                seconds=seconds,
                predicted_s=self._speeds[network].seconds(macs),
            )
            self._speeds[network].learn(macs, seconds)
            for (each, _), logits in zip(served, found, strict=True):
                if each.cancelled:
                    self._observer.rows_late(each.job, len(logits))
                each.take(logits, self._memo)
                each.waits = len(each.costs) > 0
                if each.is_scored:
                    self._planners.submit(self._plan, each)

    def _together_or_alone(
        self, compute: Callable[[Sequence[Explaining]], None], explanations: Sequence[Explaining]
    ) -> None:
        """Compute for all; if that fails, for each alone, so that only the faulty ones fail."""
        try:
            compute(explanations)
        except Exception as error:  # noqa: BLE001 (logged; it must not end the engine)
            if len(explanations) > 1:
                for each in explanations:
                    self._together_or_alone(compute, [each])
                return
            message = "an explanation failed while its masked images were scored"
            self._log(explanations[0], error, message)
            self._fail(explanations[0], error, image_fails=compute == self._put)

    def _fail(self, explaining: Explaining, error: Exception, *, image_fails: bool) -> None:
        """End an explanation; if its image is not in its place, all that have the place."""
        job = explaining.job
        with self._changed:
            if not image_fails:
                self._end(explaining, Failed(error), "failed")
                return
            for each in list(self._running.values()):
                same = (each.job.network, each.job.image_key) == (job.network, job.image_key)
                if same and each.place is not None:
                    self._end(each, Failed(error), "failed")
            self._places[job.network].forget(job.image_key)

    def _finish(self, explaining: Explaining, update: Update, outcome: Outcome) -> None:
        with self._changed:
            self._end(explaining, update, outcome)

    def _log(self, explaining: Explaining, error: Exception, message: str) -> None:
        """Log a failure once for each call that waits, in its context."""
        with self._changed:
            listeners = list(explaining.listeners)
        for listener in listeners:
            listener.within(partial(logger.error, message, exc_info=error))

    def _end(
        self,
        explaining: Explaining,
        update: Update | None = None,
        outcome: Outcome = "cancelled",
    ) -> None:
        """Remove an explanation that runs; what its threads still compute is thrown away."""
        if self._running.get(explaining.job.key) is not explaining:
            return
        del self._running[explaining.job.key]
        explaining.waits, explaining.cancelled = False, True
        if explaining.place is not None:
            self._places[explaining.job.network].leave(explaining.job.image_key)
        seconds, predicted_s = explaining.seconds, explaining.predicted_s
        self._observer.ended(explaining.job, outcome, seconds=seconds, predicted_s=predicted_s)
        if update is not None:
            explaining.tell(update)

    def _leave(
        self, explaining: Explaining, listener: Listener, outcome: Outcome = "cancelled"
    ) -> None:
        """Somebody waits no longer."""
        with self._changed:
            if listener in explaining.listeners:
                explaining.listeners.remove(listener)
            if not explaining.listeners:
                self._end(explaining, outcome=outcome)

    def _expire(self) -> None:
        """Answer those whose deadline has passed with what is finished."""
        now = time.monotonic()
        for explaining in list(self._running.values()):
            for listener in [each for each in explaining.listeners if each.deadline <= now]:
                finished = explaining.finished
                late = DeadlineError("no level of the explanation was finished by the deadline")
                done = None if finished is None else Done(finished, False, explaining.cost)
                listener.notify(done or Failed(late))
                self._leave(explaining, listener, "deadline")

    def _until_deadline(self) -> float | None:
        """Seconds to the next deadline; None if there is none."""
        deadlines = [e.deadline for each in self._running.values() for e in each.listeners]
        next_one = min(deadlines, default=float("inf"))
        return None if next_one == float("inf") else max(0.0, next_one - time.monotonic())
