"""What scheduling costs: explainers whose network sleeps, on a cluster of this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle
from serving.report import Bar
from torch import Tensor

from explaining.subject import Figure, Line, Subject, median_ratio
from ier_ray.explain import ExactInference
from ier_ray.explain.engine import SharedNetwork
from ier_ray.explain.engine.shared import Logits, Portion
from ier_ray.explain.evaluators import Interrupt, never_interrupt
from ier_ray.explain.masking import MaskedImages
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.serve.answers import Answer, ExplainRequest
from ier_ray.serve.deployments import Explainer
from ier_ray.serve.explanations import Explanations
from ier_ray.serve.schemas import AppArgs, ExplainParameters

ROW_S = 0.1
"""Sleep per masked image: long beside the CPU time that its scheduling takes, which all replicas
have from the cores of this machine."""
DEPTH = 4
AT_ONCE = 8
"""Requests under way per replica, which are as many as it takes."""
EFFICIENCY = 14 / 16
"""Least throughput of many replicas over that of one, divided by their number."""
DEPLOYMENT: Any = Explainer
"""Decorated: no longer a class."""


class SleepingNetwork(SharedNetwork):
    """Sleeps for each masked image."""

    def put(self, places: Sequence[int], images: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Images are not needed."""

    def logits(
        self, portions: Sequence[Portion], *, interrupt: Interrupt = never_interrupt
    ) -> list[Logits]:
        """All equal."""
        time.sleep(ROW_S * sum(len(portion.masking) for portion in portions))
        return [np.zeros((len(portion.masking), self.classes)) for portion in portions]

    def costs(self, masking: MaskedImages) -> NDArray[np.float64]:
        """All equal."""
        return np.full(len(masking), self.whole_macs)


class SleepingExplainer(DEPLOYMENT.func_or_class):  # type: ignore[misc]
    """The service's explainer with a network that sleeps."""

    def __init__(self, args: AppArgs) -> None:
        super().__init__(args)
        explanations: Explanations = self._explanations
        jobs = explanations._jobs
        prepared = ExactInference.of(jobs.recognizer.networks["ier"])
        image = torch.zeros(3, *explanations._sample.shape[:2])
        jobs._shared["ier", "float32"] = SleepingNetwork(prepared, image, image)


def scheduler_lines(subject: Subject, rounds: int, *, replicas: int, each: int) -> Iterator[Line]:
    """Throughput of many replicas over that of one.

    Args:
        each: explanations per replica and round.
    """
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    ray.init(
        "local",
        num_cpus=32,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env={"env_vars": environment},
    )
    try:
        serve.start(proxy_location="Disabled")
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        started = time.perf_counter()
        one, many = (deployed(subject, count) for count in (1, replicas))
        yield Figure("seconds to start all replicas", time.perf_counter() - started)
        measured = partial(explanations_per_s, subject, each=each)
        measured(one, replicas=1, each=1)
        measured(many, replicas=replicas, each=1)
        ratio = median_ratio(
            partial(measured, many, replicas=replicas), partial(measured, one, replicas=1), rounds
        )
    finally:
        serve.shutdown()
        ray.shutdown()
    name = f"explanations/s of {replicas} replicas over one"
    yield Bar(name, ratio, EFFICIENCY * replicas, at_least=True)


def deployed(subject: Subject, replicas: int) -> DeploymentHandle:
    """A handle of sleeping explainers, all of which are ready."""
    args = AppArgs(
        checkpoint=subject.checkpoint,
        max_backlog_s=1e9,
        max_explanation_s=1e9,
        explainer=ExplainerSettings(depth=DEPTH),
    )
    deployment = DEPLOYMENT.options(SleepingExplainer, num_replicas=replicas)
    return serve.run(deployment.bind(args), name=f"{replicas}-replicas", route_prefix=None)


def explanations_per_s(
    subject: Subject, handle: DeploymentHandle, *, replicas: int, each: int
) -> float:
    """Throughput of explanations of distinct images."""
    images = [subject.new_picture() for _ in range(each * replicas)]
    stream = handle.options(stream=True)

    def explain(number: int) -> None:
        request = ExplainRequest(images[number], "ier", ExplainParameters())
        *_, last = stream.options(session_id=str(hash(images[number]))).explain.remote(request)
        if not isinstance(last, Answer) or not last.complete:
            raise SystemExit(f"an explanation failed: {last}")

    with ThreadPoolExecutor(AT_ONCE * replicas) as pool:
        started = time.perf_counter()
        list(pool.map(explain, range(len(images))))
        return len(images) / (time.perf_counter() - started)
