"""Correctness on the device, each as one error beside what is allowed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from card.subject import Precision, Subject, float32_as
from ier_ray.emotions import FOUR
from ier_ray.explain import DenseEvaluator, Explanation, IncrementalEvaluator, RegionTree
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.engine import Done, Engine, Job, Level, Update
from ier_ray.explain.evaluators import NetworkEvaluator, logit
from ier_ray.explain.masking import Masking
from ier_ray.explain.memory import free_bytes
from ier_ray.explain.shapley.game import Scores
from ier_ray.losses import JointLoss
from ier_ray.models import JointModel, ModelSettings, build_joint_model
from ier_ray.training.optimization import make_optimizer
from ier_ray.training.sections import OptimizerSettings
from ier_ray.training.state import RunProgress, TrainState
from ier_ray.training.step import DeviceBatch, optimizer_step

TOLERANCE = 1e-4
"""Largest error allowed in float32, relative to the largest value."""
GRADIENT_TOLERANCE = 1e-3
"""The same for gradients, by their norms: a few inputs of ReLUs change their sign by rounding."""
STEP_TOLERANCE = 3e-2
"""The same for the change of the weights: Adam's first step has the size of the learning rate
however small a gradient is, so that rounding errors of small gradients show."""
SAMPLED = 32
"""Masked images that the whole network scores."""
STEP_MODEL = ModelSettings(image_size=64, width=0.125)
STEP_IMAGES = 4
HUNGRY_ROWS = 64
HUNGER = 8
"""The largest batch wants this many times the free memory."""


@dataclass(frozen=True)
class Check:
    """The error of one law.

    Attributes:
        error: relative to the largest value.
        tolerance: largest error allowed; None where the error is only reported.
    """

    name: str
    error: float
    tolerance: float | None = None

    @property
    def failed(self) -> bool:
        return self.tolerance is not None and not self.error <= self.tolerance  # NaN fails


def checks(subject: Subject) -> list[Check]:
    """All checks; those that may fail are of float32 without TF32."""
    found = list(incremental_checks(subject))
    with float32_as("fp32"):
        return [
            *found,
            Check("engine together = alone", engine_error(subject), TOLERANCE),
            Check("prediction = CPU in float64", prediction_error(subject), TOLERANCE),
            *step_checks(subject),
            Check("out of memory: halved batches = whole", halving_error(subject), TOLERANCE),
        ]


def relative(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Largest difference over the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def incremental_checks(subject: Subject) -> Iterator[Check]:
    """Incremental and dense inference in each precision beside dense inference in float32."""
    side = subject.size.model.image_size
    masking = Plan.of(RegionTree.halving(side, side, depth=subject.size.depth), "both").masking
    rows = np.random.default_rng(0).permutation(len(masking))[:SAMPLED]
    expected, _ = both_ways(subject, "fp32", masking, rows)
    for precision in subject.precisions:
        dense, incremental = both_ways(subject, precision, masking, rows)
        if precision == "fp32":
            yield Check("incremental = dense", relative(incremental, dense), TOLERANCE)
        else:
            yield Check(f"dense in {precision}", relative(dense, expected))
            yield Check(f"incremental in {precision}", relative(incremental, expected))


def both_ways(
    subject: Subject, precision: Precision, masking: Masking, rows: NDArray[np.int64]
) -> tuple[Scores, Scores]:
    """Logits of some rows: by the whole network, and by windows among all rows."""
    with float32_as(precision):
        evaluator = incremental_evaluator(subject, precision)
        dense = dense_beside(evaluator)
        return dense(masking[rows]), evaluator(masking)[rows]


def incremental_evaluator(
    subject: Subject, precision: Precision, *, picture: int = 0
) -> IncrementalEvaluator:
    """Scores masked versions of a picture by windows."""
    pixels = subject.pictures[picture]
    evaluator = subject.recognizer.evaluator(pixels, subject.settings(precision))
    if not isinstance(evaluator, IncrementalEvaluator):
        raise SystemExit(f"the network is not run by windows: {evaluator.inference}")
    return evaluator


def dense_beside(
    evaluator: IncrementalEvaluator, *, batch_size: int | None = None
) -> DenseEvaluator:
    """Scores the same masked images by the whole network."""
    whole = evaluator.network.whole
    return DenseEvaluator(whole, evaluator.image, evaluator.baseline, logit, batch_size=batch_size)


def engine_error(subject: Subject) -> float:
    """Of explanations that share batches, beside each one's own."""
    settings = subject.settings("fp32")
    images = subject.pictures[: subject.size.together]
    evaluators: list[NetworkEvaluator] = [
        subject.recognizer.evaluator(each, settings) for each in images
    ]
    alone = [settings.explainer().explain(each) for each in evaluators]
    jobs = [subject.jobs.explanation(each, settings) for each in images]
    pairs = zip(explained_together(jobs), alone, strict=True)
    return max(
        float(np.abs(found.credits - expected.credits).max() / np.abs(expected.full).max())
        for found, expected in pairs
    )


def explained_together(jobs: Sequence[Job]) -> list[Explanation]:
    """The explanations of a new engine, which all jobs are given at once."""
    engine = Engine()
    try:
        queues: list[SimpleQueue[Update]] = [SimpleQueue() for _ in jobs]
        for job, queue in zip(jobs, queues, strict=True):
            engine.submit(job, queue.put)
        return [answer(queue) for queue in queues]
    finally:
        engine.stop()


def answer(updates: SimpleQueue[Update]) -> Explanation:
    update = updates.get()
    while isinstance(update, Level):
        update = updates.get()
    if not isinstance(update, Done):
        raise update.error
    return cast("Explanation", update.result)


def prediction_error(subject: Subject) -> float:
    """Of probabilities."""
    pixels = subject.pictures[:2]
    network = copy.deepcopy(subject.network).double()
    with torch.inference_mode():
        expected = network(subject.inputs(pixels).double()).softmax(1).numpy()
    return relative(subject.recognizer.probabilities(pixels), expected)


def step_checks(subject: Subject) -> list[Check]:
    """One joint training step of a small pair on the device beside the CPU in float64."""
    torch.manual_seed(0)
    model = build_joint_model(STEP_MODEL, num_classes=len(FOUR.classes))
    expected = step(model, torch.device("cpu"), torch.float64)
    found = step(model, subject.device, torch.float32)
    loss, gradient, change = (
        float((mine - exact).norm() / exact.norm())
        for mine, exact in zip(found, expected, strict=True)
    )
    return [
        Check("training loss = CPU in float64", loss, TOLERANCE),
        Check("training gradients = CPU in float64", gradient, GRADIENT_TOLERANCE),
        Check("training step = CPU in float64", change, STEP_TOLERANCE),
    ]


def step(model: JointModel, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Loss, gradients and change of the weights in one step of a copy, on the CPU in float64."""
    own = copy.deepcopy(model).to(device, dtype).to(memory_format=torch.channels_last)
    settings, loss = OptimizerSettings(learning_rate=1e-3), JointLoss(regularization=1e-5)
    optimizer = make_optimizer(own, settings, device)
    state = TrainState(own, own, optimizer, RunProgress(0, 0, []))
    (parts,) = optimizer_step(state, loss, [step_batch(device, dtype)], settings, count=1)
    gradients = [each.grad for each in own.parameters() if each.grad is not None]
    return flat([parts.total]), flat(gradients), flat(own.parameters()) - flat(model.parameters())


def step_batch(device: torch.device, dtype: torch.dtype) -> DeviceBatch:
    generator, side = torch.Generator().manual_seed(2), STEP_MODEL.image_size
    images = torch.randn(2, STEP_IMAGES, 3, side, side, generator=generator).to(device, dtype)
    labels = torch.randint(len(FOUR.classes), (2, STEP_IMAGES), generator=generator).to(device)
    return DeviceBatch(images[0], labels[0], images[1], labels[1])


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers on the CPU in float64."""
    return torch.cat([each.detach().cpu().double().flatten() for each in tensors])


def halving_error(subject: Subject) -> float:
    """Of scores in batches that were halved until memory sufficed.

    The network also asks for memory that it does not touch, in proportion to its batch.
    """
    evaluator = incremental_evaluator(subject, "fp32")
    per_row = HUNGER * free_bytes(subject.device) // HUNGRY_ROWS
    batches: list[int] = []

    def hungry(images: Tensor) -> Tensor:
        batches.append(len(images))
        torch.empty(len(images) * per_row, dtype=torch.uint8, device=images.device)
        logits: Tensor = evaluator.network.whole(images)
        return logits

    side = subject.size.model.image_size
    rows = Plan.of(RegionTree.halving(side, side, depth=5), "both").masking[:HUNGRY_ROWS]
    dense = DenseEvaluator(
        hungry, evaluator.image, evaluator.baseline, logit, batch_size=HUNGRY_ROWS
    )
    error = relative(dense(rows), dense_beside(evaluator)(rows))
    subject.free()
    if min(batches) == max(batches):
        raise SystemExit(f"batches of {batches} images did not run out of memory")
    return error
