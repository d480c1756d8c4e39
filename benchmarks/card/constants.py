"""The constants that the code has for a kind of device, beside what this device says.

Two kinds of evidence: the constant's meaning, measured (how long a call takes), and explanations or
batches with several values in its place, of which the fastest shows what the value is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from card.checks import incremental_evaluator
from card.figures import explain_once
from card.subject import Precision, Subject, float32_as
from ier_ray.explain import IncrementalEvaluator, evaluators, memory
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.engine import speed
from ier_ray.explain.evaluators import never_interrupt
from ier_ray.explain.incremental import TracedNetwork, batch
from ier_ray.explain.incremental.activations import channels_first, pixels_last
from ier_ray.explain.incremental.operations import Slide
from ier_ray.explain.incremental.windows import Window, cut, paste
from ier_ray.explain.masking import Masking
from ier_ray.explain.memory import is_out_of_memory
from ier_ray.explain.regions import RegionTree

NEARLY = 1.05
"""A value is as good as the best when it takes at most this much longer."""
FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
BYTES = (-6, -4, -2, 0, 1)
"""Powers of two, by which the bytes in the code are multiplied."""
MOST_ROWS = {"cpu": 64, "cuda": 512}
"""Largest batch tried: on the card, the largest whose first maps have fewer than 2^31 numbers."""
CALLS, GROUPS = 20, 5
LARGE_PIXELS = 2**19
"""Most pixels of a call that keeps the device busy: what its output takes of memory."""
LARGE_SIDE = 14
"""Side of its windows, where the map has as many pixels."""


@dataclass(frozen=True)
class Constant:
    """A constant of the code.

    Attributes:
        in_code: its value there for this kind of device.
        measured: what it should be here.
        seconds: by value tried, of what it makes faster; empty where it was measured directly.
    """

    name: str
    in_code: float
    measured: float
    seconds: dict[float, float]

    def record(self) -> dict[str, Any]:
        return asdict(self)


def constants(subject: Subject) -> list[Constant]:
    """All of them; those of calls in each precision, the others in float32 without TF32."""
    found: list[Constant] = []
    for precision in subject.precisions:
        with float32_as(precision):
            found += call_constants(subject, precision)
    with float32_as("fp32"):
        return [*found, most_rows(subject), most_bytes(subject), seconds_per_mac(subject)]


def of_device(values: dict[str, float] | dict[str, int], subject: Subject) -> float:
    """The code's value for this kind of device."""
    return values.get(subject.device.type, values["cpu"])


def call_constants(subject: Subject, precision: Precision) -> list[Constant]:
    """CALL_MACS and WEIGHT_MACS.

    One call: seconds of a convolution of one pixel, by its weights. All steps: of a group of one
    masked pixel from the first step to the last; a group that is split off at the first step costs
    that, one split off later less. In multiply-accumulates at the speed of calls that keep the
    device busy.
    """
    evaluator = incremental_evaluator(subject, precision)
    small, large, macs, weights = [], [], [], []
    for name, slide in convolutions(evaluator.network).items():
        background = evaluator.activations.read[name][0]
        side = min(LARGE_SIDE, background.shape[1] - slide.kernel[0] + 1)
        rows = max(1, int(min(LARGE_PIXELS, subject.size.call_macs / slide.macs)) // side**2)
        small.append(call_seconds(subject, slide, background, rows=1, side=1))
        large.append(call_seconds(subject, slide, background, rows=rows, side=side))
        macs.append(rows * side**2 * slide.macs)
        weights.append(slide.weights)
    speed = sum(macs) / sum(large)
    each, fixed = np.polyfit(weights, small, 1)
    steps, in_code = group_seconds(subject, evaluator), of_device(batch.CALL_MACS, subject)
    tries = tried(
        subject,
        batch.CALL_MACS,
        [in_code * factor for factor in FACTORS],
        lambda: explain_once(subject, precision),
    )
    return [
        Constant(f"CALL_MACS {precision}, one call", in_code, fixed * speed, {}),
        Constant(f"CALL_MACS {precision}, all steps", in_code, steps * speed, {}),
        Constant(
            f"CALL_MACS {precision}, tried", in_code, min(tries, key=tries.__getitem__), tries
        ),
        Constant(f"WEIGHT_MACS {precision}", batch.WEIGHT_MACS, each * speed, {}),
    ]


@torch.inference_mode()
def group_seconds(subject: Subject, evaluator: IncrementalEvaluator) -> float:
    """Seconds of all steps for one masked pixel."""
    middle = evaluator.shape[0] // 2
    pixel = np.array([[middle, middle + 1, middle, middle + 1]])
    masking, first = Masking(pixel, np.zeros(1, dtype=np.bool_)), np.zeros(1, dtype=np.int64)
    windows = batch.WindowBatch(evaluator.network, evaluator.activations, masking, first)

    def run() -> None:
        for _ in range(GROUPS):
            windows.run(first, never_interrupt)

    return subject.seconds(run) / GROUPS


def convolutions(network: TracedNetwork) -> dict[str, Slide]:
    """By the names of their outputs."""
    operations = {step.output: step.operation for step in network.steps}
    return {name: o for name, o in operations.items() if isinstance(o, Slide) and o.macs > 0}


@torch.inference_mode()
def call_seconds(
    subject: Subject, slide: Slide, background: Tensor, *, rows: int, side: int
) -> float:
    """Seconds of one group's convolution in square windows, as the code runs it."""
    start = np.zeros((rows, 2), dtype=np.int64)
    origin, size = slide.patch(start, (side, side))
    changed = Window(background[:1, :side, :side].expand(rows, -1, -1, -1).contiguous(), start)
    image, own = start[:, 0], np.arange(rows)

    def call() -> None:
        patch = cut(background, image, origin, size)
        paste(patch, own, origin, changed)
        pixels_last(slide.apply(channels_first(patch))).relu_()

    calls = CALLS if side == 1 else 1

    def run() -> None:
        for _ in range(calls):
            call()

    return subject.seconds(run) / calls


def most_bytes(subject: Subject) -> Constant:
    """MOST_BYTES, by explanations: the fewest that are nearly as fast as any."""
    in_code = of_device(memory.MOST_BYTES, subject)
    values = [int(in_code * 2.0**power) for power in BYTES]
    seconds = tried(subject, memory.MOST_BYTES, values, lambda: explain_once(subject, "fp32"))
    return Constant("MOST_BYTES", in_code, smallest_good(seconds), seconds)


def most_rows(subject: Subject) -> Constant:
    """MOST_ROWS: the fewest images in a batch of the whole network nearly as fast as any."""
    in_code = of_device(evaluators.MOST_ROWS, subject)
    seconds: dict[float, float] = {}
    rows = 1
    while rows <= MOST_ROWS[subject.device.type]:
        try:
            seconds[rows] = dense_seconds(subject, rows) / rows
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        rows *= 2
    return Constant("MOST_ROWS", in_code, smallest_good(seconds), seconds)


@torch.inference_mode()
def dense_seconds(subject: Subject, rows: int) -> float:
    """Seconds of the whole network on a batch of random images."""
    side, network = subject.size.model.image_size, subject.recognizer.networks["ier"]
    subject.free()
    images = torch.randn(rows, 3, side, side, device=subject.device)
    images = images.contiguous(memory_format=torch.channels_last)
    return subject.seconds(lambda: network(images))


def seconds_per_mac(subject: Subject) -> Constant:
    """FIRST_S_PER_MAC of the engine: of an explanation's predicted cost."""
    evaluator = incremental_evaluator(subject, "fp32")
    side = subject.size.model.image_size
    plan = Plan.of(RegionTree.halving(side, side, depth=subject.size.depth), "both")
    seconds = subject.seconds(lambda: evaluator(plan.masking))
    measured = seconds / float(evaluator.costs(plan.masking).sum())
    return Constant("FIRST_S_PER_MAC", speed.FIRST_S_PER_MAC, measured, {})


def tried(
    subject: Subject, table: dict[str, Any], values: Sequence[float], run: Callable[[], object]
) -> dict[float, float]:
    """Seconds of a run by the value in a table for this kind of device."""
    seconds = {}
    for value in values:
        with instead(table, subject.device.type, value):
            subject.free()
            seconds[value] = subject.seconds(run)
    return seconds


@contextmanager
def instead(table: dict[str, Any], kind: str, value: float) -> Iterator[None]:
    """Another value in a table of the code."""
    before = table[kind]
    table[kind] = value
    try:
        yield
    finally:
        table[kind] = before


def smallest_good(seconds: dict[float, float]) -> float:
    """The smallest value that is nearly as fast as the fastest."""
    best = min(seconds.values())
    return min(value for value, found in seconds.items() if found <= NEARLY * best)
