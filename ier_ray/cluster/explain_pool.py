"""DnCShap over a pool of actors.

An explanation puts its image into the object store, and its workers read it from there. A job is a
share of the masked images to be scored; all shares cost about the same. Ray restarts actors that
die and retries their jobs. Where the work runs does not affect the result: the plan and the credits
are those of :mod:`ier_ray.explain.dncshap`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from ier_ray.cluster.logs import show_in_job
from ier_ray.cluster.sharing import share
from ier_ray.data.images import Pixels
from ier_ray.data.schema import Domain
from ier_ray.errors import CancelledError
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.evaluators import NetworkEvaluator
from ier_ray.explain.masking import MaskedImages, Rows
from ier_ray.explain.shapley.game import Scores
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer

RETRIES = 3
"""Times a job is retried after its actor died."""
KEPT_IMAGES = 4
"""Images whose cached activations a worker keeps: the most recently used ones."""
KEPT_CANCELLED = 64
"""Names of cancelled requests that a worker remembers: the latest ones."""
CONTROL = "control"
"""Concurrency group of calls that run beside a job."""
POLL_S = 0.1
"""Seconds between two checks for cancellation."""


@dataclass(frozen=True)
class ExplainRequest:
    """One explanation's input, which its workers share through the object store."""

    pixels: Pixels
    """``(S, S, 3)`` uint8, already at the network's size."""
    settings: ExplainerSettings
    domain: Domain
    target: int | None = None
    """Class whose credits decide which regions to refine; by default the predicted one."""


@dataclass(frozen=True)
class Scored:
    """The result of a job."""

    rows: Rows
    """The worker's share of the masked images."""
    scores: Scores
    """Scores of those masked images, ``(len(rows), K)``."""
    inference: str
    """How the scores were computed."""


class ExplainWorker:
    """Actor that holds a network and scores masked images."""

    def __init__(self, checkpoint: str, *, adjust_prior: bool = False) -> None:
        show_in_job()
        self._recognizer = Recognizer.load(checkpoint, adjust_prior=adjust_prior)
        self._evaluators: OrderedDict[str, NetworkEvaluator] = OrderedDict()
        self._cancelled: deque[str] = deque(maxlen=KEPT_CANCELLED)

    def score(
        self,
        request: ExplainRequest,
        name: str,
        masking: MaskedImages,
        index: int = 0,
        count: int = 1,
    ) -> Scored | None:
        """Scores of masked versions of the request's image; None if it was cancelled.

        Args:
            name: the same for all jobs of a request, which share the image's cached activations.
            index, count: which of how many shares of the masked images to score. Workers compute
                the shares themselves: only they know what a masked image costs.
        """
        try:
            evaluator = self._evaluator(request, name)
            rows = share(evaluator.costs(masking), index, count)
            scores = evaluator(masking[rows])
            return Scored(rows, scores, evaluator.inference)
        except CancelledError:
            return None

    @ray.method(concurrency_group=CONTROL)
    def cancel(self, name: str) -> None:
        """End a request's jobs before their next batch; may be called while they run."""
        self._cancelled.append(name)

    def _evaluator(self, request: ExplainRequest, name: str) -> NetworkEvaluator:
        def interrupt() -> None:
            if name in self._cancelled:
                raise CancelledError(f"explanation {name} was cancelled")

        if name not in self._evaluators:
            self._evaluators[name] = self._recognizer.evaluator(
                request.pixels, request.settings, domain=request.domain, interrupt=interrupt
            )
        self._evaluators.move_to_end(name)
        while len(self._evaluators) > KEPT_IMAGES:
            self._evaluators.popitem(last=False)
        return self._evaluators[name]

    def ready(self) -> bool:
        """Returns once the network is loaded."""
        return True


@dataclass
class PoolEvaluator:
    """An :class:`~ier_ray.explain.evaluators.Evaluator` whose work is shared by the pool's workers.

    Attributes:
        pool: the workers with the network.
        request: reference to the :class:`ExplainRequest` in the object store.
        shape: height and width of the image.
        cancelled: polled; True when the scores are no longer wanted.
        inference: how scores are computed, known after the first ones.
    """

    pool: ExplainPool
    request: ray.ObjectRef
    shape: tuple[int, int]
    cancelled: Callable[[], bool]
    inference: str = "nothing scored"

    def __call__(self, masking: MaskedImages) -> Scores:
        """Scores ``(M, K)``; each worker computes a share of the masked images.

        Raises:
            CancelledError: when the scores are no longer wanted; the workers' jobs have ended.
        """
        results = self._shares(masking)
        scores = np.empty((len(masking), results[0].scores.shape[1]))
        for result in results:
            scores[result.rows] = result.scores
        self.inference = results[0].inference
        return scores

    def _shares(self, masking: MaskedImages) -> list[Scored]:
        workers = self.pool.workers
        name, count = self.request.hex(), min(len(workers), len(masking))
        masking_ref = ray.put(masking)
        running = [
            worker.score.remote(self.request, name, masking_ref, index, count)
            for index, worker in enumerate(workers[:count])
        ]
        left, cancelled = running, self.cancelled()
        while left and not cancelled:
            _, left = ray.wait(left, num_returns=len(left), timeout=POLL_S)
            cancelled = self.cancelled()
        if cancelled:
            ray.get([worker.cancel.remote(name) for worker in workers])
        results = [result for result in ray.get(running) if result is not None]
        if cancelled or len(results) < count:  # also if all jobs ended before they were told
            raise CancelledError("the explanation was cancelled")
        return results


@dataclass(frozen=True)
class ExplainPool:
    """A fixed number of workers with the network of one checkpoint."""

    workers: tuple[Any, ...]

    @classmethod
    def start(
        cls,
        checkpoint: str,
        *,
        size: int,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        adjust_prior: bool = False,
    ) -> ExplainPool:
        """Start the workers and wait until each has loaded the network.

        Args:
            adjust_prior: as :meth:`ier_ray.inference.Recognizer.load`.

        Raises:
            CheckpointError: when a worker cannot load the checkpoint.
        """
        actor = ray.remote(concurrency_groups={CONTROL: 1})(ExplainWorker).options(
            num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=-1, max_task_retries=RETRIES
        )
        pool = cls(tuple(actor.remote(checkpoint, adjust_prior=adjust_prior) for _ in range(size)))
        ray.get([worker.ready.remote() for worker in pool.workers])
        return pool

    def lanes(self) -> list[ExplainPool]:
        """Each worker as a pool of its own."""
        return [ExplainPool((worker,)) for worker in self.workers]

    def explain(
        self, request: ExplainRequest, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Explanation:
        """Explain one image with all workers.

        Args:
            cancelled: polled; True when the explanation is no longer wanted.

        Raises:
            CancelledError: when it is no longer wanted; the workers' jobs have ended.
        """
        evaluator = self.evaluator(request, cancelled=cancelled)
        return request.settings.explainer(request.target).explain(evaluator)

    def evaluator(
        self, request: ExplainRequest, *, cancelled: Callable[[], bool] = lambda: False
    ) -> PoolEvaluator:
        """An evaluator of masked versions of the request's image, stored once for all workers.

        Args:
            cancelled: polled; True when the scores are no longer wanted.
        """
        height, width = request.pixels.shape[:2]
        return PoolEvaluator(self, ray.put(request), (height, width), cancelled)

    def stop(self) -> None:
        """Kill the workers."""
        for worker in self.workers:
            ray.kill(worker)
