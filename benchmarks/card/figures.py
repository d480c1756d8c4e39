"""Speed of the training step, of predictions and of explanations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from card.checks import explained_together
from card.peaks import Peak
from card.subject import Precision, Subject, float32_as
from ier_ray.data.streams import Batch, JointBatch
from ier_ray.emotions import FOUR
from ier_ray.explain.dncshap import Contexts
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import on_device
from ier_ray.training.schedule import epoch_passes
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import TrainState, start
from ier_ray.training.step import optimizer_step

Peaks = dict[Precision, Peak]
CONTEXTS: tuple[Contexts, ...] = ("absent", "both")
COUNTED = 2
"""Images of each domain in the step whose operations are counted."""


@dataclass(frozen=True)
class Figure:
    """Speed of one thing.

    Attributes:
        what: what is done, in which precision, and how many at once.
        per_s: images, predictions or explanations per second.
        tflops: floating-point operations executed per second, in 10¹².
        share: of the device's measured peak in this precision.
        peak_mib: most memory allocated on the device; None on the CPU.
    """

    what: str
    precision: Precision
    count: int
    per_s: float
    tflops: float
    share: float
    peak_mib: float | None

    @classmethod
    def of(
        cls,
        what: str,
        precision: Precision,
        count: int,
        *,
        per_s: float,
        flops_each: float,
        peak: Peak,
        subject: Subject,
    ) -> Figure:
        flops_per_s = per_s * flops_each
        share = peak.share(flops_per_s)
        return cls(what, precision, count, per_s, flops_per_s / 1e12, share, subject.peak_mib())

    def record(self) -> dict[str, Any]:
        return asdict(self)


def flops(run: Callable[[], object]) -> float:
    """Floating-point operations of convolutions and products, backward ones included."""
    with FlopCounterMode(display=False) as counter:
        run()
    total: float = counter.get_total_flops()
    return total


class Training:
    """The paper's joint step on pictures in the host's memory, as the training loop runs it.

    Attributes:
        ended: why no larger batch was measured, by precision.
    """

    def __init__(self, subject: Subject) -> None:
        self.ended: dict[Precision, str] = {}
        self._subject = subject
        self._state = self._started()
        self._flops = flops(lambda: self.step(COUNTED, "fp32")) / (2 * COUNTED)

    def figures(self, peaks: Peaks) -> Iterator[Figure]:
        """At every batch size from the first on, doubled until memory does not suffice."""
        first, last = self._subject.size.training
        for precision in self._subject.precisions:
            batch_size = first
            self.ended[precision] = "no larger batch was to be tried"
            while batch_size <= last and (per_s := self._images_per_s(batch_size, precision)):
                yield Figure.of(
                    "training, images/s",
                    *(precision, batch_size),
                    per_s=per_s,
                    flops_each=self._flops,
                    peak=peaks[precision],
                    subject=self._subject,
                )
                batch_size *= 2

    def _images_per_s(self, batch_size: int, precision: Precision) -> float | None:
        """Images of both domains per second; None when the device cannot, mostly for memory."""
        try:
            self._state.optimizer.zero_grad(set_to_none=True)
            self._subject.free()
            with float32_as(precision):
                seconds = self._subject.seconds(lambda: self.step(batch_size, precision))
        except RuntimeError as error:  # beyond 2^31 numbers kernels have errors of their own
            self.ended[precision] = f"batch {batch_size}: {str(error).splitlines()[0]}"
            return None
        return 2 * batch_size / seconds

    def step(self, batch_size: int, precision: Precision) -> None:
        """One optimizer step on as many images of each domain."""
        settings = self._settings(precision)
        (loss,) = epoch_passes(settings, settings.schedule.warmup_epochs)
        batch = JointBatch(self._batch(batch_size), self._batch(batch_size))
        moved = on_device([batch], settings.preprocessing, self._subject.device)
        optimizer_step(self._state, loss, moved, settings.optimizer, count=1)

    def _batch(self, batch_size: int) -> Batch:
        pixels = torch.from_numpy(self._subject.pictures)
        chosen = torch.arange(batch_size)
        return Batch(pixels[chosen % len(pixels)], chosen % len(FOUR.classes))

    def _settings(self, precision: Precision) -> TrainSettings:
        """Those of configs/paper.yaml, with weights as drawn."""
        half = precision == "bf16"
        return TrainSettings.model_validate(
            {
                "data": {"fer": "none", "ier": "none"},
                "model": self._subject.size.model.model_dump(),
                "loss": {"regularization": 1e-5},
                "optimizer": {"precision": "bfloat16" if half else "float32"},
            }
        )

    def _started(self) -> TrainState:
        with tempfile.TemporaryDirectory() as directory:
            context = LocalContext(Path(directory), self._subject.device)
            state = start(self._settings("fp32"), FOUR, context)
        state.model.train()
        return state


def predictions(subject: Subject, peaks: Peaks) -> Iterator[Figure]:
    """Of pixels in the host's memory to probabilities there; in float32 and, if there is, TF32."""
    recognizer = subject.recognizer
    each = flops(lambda: recognizer.probabilities(subject.pictures[:1]))
    for precision in subject.precisions:
        if precision == "bf16":  # predictions are made in float32
            continue
        for count in subject.size.predicting:
            run = partial(recognizer.probabilities, subject.pictures[:count])
            subject.free()
            with float32_as(precision):
                seconds = subject.seconds(run)
            yield Figure.of(
                "predictions/s",
                *(precision, count),
                per_s=count / seconds,
                flops_each=each,
                peak=peaks[precision],
                subject=subject,
            )


def explanations(subject: Subject, peaks: Peaks) -> Iterator[Figure]:
    """One image after another, and several together in an engine."""
    for precision in subject.precisions:
        for contexts in CONTEXTS:
            for count in (1, subject.size.together):
                yield explanation(subject, precision, contexts, count, peaks[precision])


def explanation(
    subject: Subject, precision: Precision, contexts: Contexts, count: int, peak: Peak
) -> Figure:
    def run() -> None:
        if count == 1:
            explain_once(subject, precision, contexts)
        else:
            explain_together(subject, precision, contexts)

    subject.free()
    with float32_as(precision):
        each = flops(lambda: explain_once(subject, precision, contexts))
        seconds = subject.seconds(run)
    return Figure.of(
        f"explanations/s, {contexts}",
        *(precision, count),
        per_s=count / seconds,
        flops_each=each,
        peak=peak,
        subject=subject,
    )


def explain_once(subject: Subject, precision: Precision, contexts: Contexts = "both") -> None:
    """Explain the first picture, its preparation included."""
    settings = subject.settings(precision, contexts)
    evaluator = subject.recognizer.evaluator(subject.pictures[0], settings)
    settings.explainer().explain(evaluator)


def explain_together(subject: Subject, precision: Precision, contexts: Contexts) -> None:
    """Explain several pictures in a new engine, which knows none of them."""
    settings = subject.settings(precision, contexts)
    images = subject.pictures[: subject.size.together]
    explained_together([subject.jobs.explanation(each, settings) for each in images])
