"""What this service counts beside what Ray Serve counts, for Prometheus.

Ray exports these metrics on every node with the prefix ``ray_`` and, of counters, the suffix
``_total``; Serve adds the labels ``application``, ``deployment`` and ``replica``. The sums of its
histograms are estimates from their buckets, so what is to be exact is a counter too.
``deploy/grafana/ier_ray.json`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.serve.metrics import Counter, Gauge, Histogram

from ier_ray.data.schema import Domain
from ier_ray.explain.engine import Job, Observer, Outcome, SharedNetwork
from ier_ray.serve.errors import RefusedError
from ier_ray.serve.jobs.records import JobState

NETWORK = ("network",)
SHORT_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5]
"""Bounds for durations of batches, in seconds."""
LONG_S = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
"""Bounds for durations of explanations, in seconds."""
ROWS = [2.0**power for power in range(14)]
"""Bounds for numbers of masked images."""
FEW = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128]
"""Bounds for numbers of images or explanations."""


class EngineMetrics(Observer):
    """Counts the work of an explainer's engine. To be made in a replica."""

    def __init__(self) -> None:
        self._rows = Histogram(
            "ier_batch_rows", "Masked images in a batch of the engine.", ROWS, NETWORK
        )
        self._explanations = Histogram(
            "ier_batch_explanations", "Explanations that share a batch of the engine.", FEW, NETWORK
        )
        self._batch_s = Histogram(
            "ier_batch_seconds", "Seconds that a batch of the engine took.", SHORT_S, NETWORK
        )
        self._computing_s = Counter(
            "ier_computing_seconds", "Seconds that all batches of the engine took.", NETWORK
        )
        self._predicted_computing_s = Counter(
            "ier_computing_predicted_seconds", "Seconds predicted for them.", NETWORK
        )
        self._scored = Counter("ier_rows_scored", "Masked images scored.", NETWORK)
        self._known = Counter(
            "ier_rows_known",
            "Masked images whose scores were kept: kind 'repeated' of the same settings, "
            "'deepening' of other settings.",
            (*NETWORK, "kind"),
        )
        self._late = Counter(
            "ier_rows_late", "Masked images scored after all who waited had left.", NETWORK
        )
        self._level_s = Histogram(
            "ier_level_seconds",
            "Seconds from the submission of an explanation until a level was final.",
            LONG_S,
            (*NETWORK, "level"),
        )
        ended = (*NETWORK, "outcome")
        self._explanation_s = Histogram(
            "ier_explanation_seconds",
            "Seconds from the submission of an explanation to its end.",
            LONG_S,
            ended,
        )
        self._actual_s = Counter(
            "ier_explanation_actual_seconds",
            "Seconds that all explanations took which have ended.",
            ended,
        )
        self._predicted_s = Counter(
            "ier_explanation_predicted_seconds",
            "Seconds predicted for them on an idle engine, when they were submitted.",
            ended,
        )

    def batch_scored(
        self,
        network: SharedNetwork,
        *,
        rows: int,
        explanations: int,
        seconds: float,
        predicted_s: float,
    ) -> None:
        """As the base class."""
        tags = {"network": network.name}
        self._rows.observe(rows, tags)
        self._explanations.observe(explanations, tags)
        self._batch_s.observe(seconds, tags)
        add(self._computing_s, seconds, tags)
        add(self._predicted_computing_s, predicted_s, tags)
        add(self._scored, rows, tags)

    def rows_known(self, job: Job, *, repeated: int, deepening: int) -> None:
        """As the base class."""
        if job.is_help:
            return
        for kind, rows in (("repeated", repeated), ("deepening", deepening)):
            add(self._known, rows, {"network": job.network.name, "kind": kind})

    def rows_late(self, job: Job, rows: int) -> None:
        """As the base class."""
        add(self._late, rows, {"network": job.network.name})

    def level_finished(self, job: Job, level: int, seconds: float) -> None:
        """As the base class."""
        self._level_s.observe(seconds, {"network": job.network.name, "level": str(level)})

    def ended(self, job: Job, outcome: Outcome, *, seconds: float, predicted_s: float) -> None:
        """As the base class."""
        if job.is_help:
            return
        tags = {"network": job.network.name, "outcome": outcome}
        self._explanation_s.observe(seconds, tags)
        add(self._actual_s, seconds, tags)
        add(self._predicted_s, predicted_s, tags)


class IngressMetrics:
    """Counts predictions and refusals. To be made in a replica."""

    def __init__(self) -> None:
        self._images = Histogram(
            "ier_prediction_batch_images", "Images in a batch of predictions.", FEW, NETWORK
        )
        self._predicted = Counter("ier_predicted_images", "Images predicted.", NETWORK)
        self._seconds = Histogram(
            "ier_prediction_batch_seconds",
            "Seconds that a batch of predictions took.",
            SHORT_S,
            NETWORK,
        )
        self._refused = Counter(
            "ier_refused_requests",
            "Replies that are problems, by their field 'error' and their status.",
            ("error", "status"),
        )

    def predicted(self, network: Domain, images: int, seconds: float) -> None:
        """A batch was computed."""
        tags: dict[str, str] = {"network": network}
        self._images.observe(images, tags)
        add(self._predicted, images, tags)
        self._seconds.observe(seconds, tags)

    def refused(self, refused: RefusedError) -> None:
        """A request was refused, or failed."""
        self._refused.inc(1, {"error": refused.error, "status": str(refused.status)})


class JobMetrics:
    """Counts images of jobs. To be made in a replica."""

    def __init__(self) -> None:
        self._now = Gauge("ier_job_images", "Images of jobs that wait and that run.", ("state",))
        self._ended = Counter("ier_job_images_ended", "Images of jobs that have ended.", ("state",))

    def told(self, now: Mapping[JobState, int], ended: JobState | None) -> None:
        """As :class:`ier_ray.serve.jobs.runner.JobRunner` tells it."""
        for state, images in now.items():
            self._now.set(images, {"state": state})
        if ended is not None:
            self._ended.inc(1, {"state": ended})


def add(counter: Counter, amount: float, tags: dict[str, str]) -> None:
    """Count an amount, which Ray refuses to do for zero."""
    if amount > 0:
        counter.inc(amount, tags)
