"""Runs the windowed steps of a network on a batch of masked images.

All masked images of a batch start together, with windows of about one size. At the border of a map
windows are smaller than inside, so their sizes diverge from step to step. Where one call for all
rows would waste more than another call costs, the rows are split into groups, which continue one
after another. Only the group being computed, and the windows that the waiting groups start from,
are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ier_ray.explain.evaluators import Interrupt
from ier_ray.explain.incremental.activations import (
    BASELINE,
    IMAGE,
    CachedActivations,
    apply,
    channels_first,
    contiguous_copy,
    pixels_last,
)
from ier_ray.explain.incremental.grouping import group_by_size
from ier_ray.explain.incremental.operations import Corners, Pointwise, Size, Slide, Step
from ier_ray.explain.incremental.tracing import TracedNetwork
from ier_ray.explain.incremental.windows import Extents, Window, cut, paste, positions, take
from ier_ray.explain.masking import Masking

Rows = NDArray[np.int64]

CALL_MACS = {"cpu": 3e7, "cuda": 3e9}
"""Multiply-accumulates that take as long as one more call (CPU: measured on two cores)."""
WEIGHT_MACS = 100.0
"""The same, for each weight of the operation: every call reads and reorders all of them."""


@dataclass
class _Group:
    """Rows of a batch whose windows have one size, and the step that they have reached."""

    rows: Rows
    windows: dict[str, Window]
    """By name, the values that a later step reads."""
    next_step: int

    def parts(self, groups: list[Rows]) -> list[_Group]:
        """This group split into groups of its rows."""
        return [
            _Group(
                self.rows[group],
                {name: window[group] for name, window in self.windows.items()},
                self.next_step,
            )
            for group in groups
        ]


class WindowBatch:
    """Masked images, a window of each, and the whole maps that the windows are pasted into.

    Args:
        pairs: ``(M,)``; the image that each row masks, by its place in ``activations``.
    """

    def __init__(
        self,
        network: TracedNetwork,
        activations: CachedActivations,
        masking: Masking,
        pairs: Rows,
    ) -> None:
        self._network, self._activations, self._masking = network, activations, masking
        self._background = backgrounds(masking, pairs)
        self._extents = extents(network, activations.shapes, masking)
        self._last_read = {
            name: index for index, step in enumerate(network.steps) for name in step.inputs
        }
        device = activations.pixels.device
        self._call_macs = CALL_MACS.get(device.type, CALL_MACS["cpu"])
        self._chosen = torch.from_numpy(self._background).to(device)
        self._frontier = {
            name: maps.index_select(0, self._chosen)
            if network.readout is None
            else maps.new_empty(len(masking), *maps.shape[1:])  # it reads changed positions only
            for name, maps in activations.frontier.items()
        }

    def bytes(self) -> NDArray[np.float64]:
        """Approximate peak bytes of the windows of each row, ``(M,)``."""
        shapes, item = self._activations.shapes, self._activations.pixels.element_size()
        sizes = {
            name: extent.sizes.prod(1) * float(shapes[name][0] * item)
            for name, extent in self._extents.items()
        }
        largest = np.zeros(len(self._masking))
        for step in self._network.steps:  # inputs, their copies with surroundings, output
            read = np.sum([sizes[name] for name in step.inputs], axis=0)
            largest = np.maximum(largest, 3 * read + sizes[step.output])
        return largest

    def run(self, rows: Rows, interrupt: Interrupt) -> None:
        """Compute some rows' changes of the frontier, with ``interrupt`` before each group."""
        for group in self._groups(self._network.steps[0], rows):
            interrupt()
            first = rows[group]
            waiting = [_Group(first, {self._network.source: self._masked(first)}, next_step=0)]
            while waiting:
                waiting += self._advance(waiting.pop())

    def tail_inputs(self) -> list[Tensor]:
        """Inputs of the tail for all rows; :meth:`run` has computed each of them."""
        readout, known = self._network.readout, self._activations.read_out
        if readout is None or known is None:
            return [contiguous_copy(channels_first(maps)) for maps in self._frontier.values()]
        before, after = self._activations.frontier, self._frontier
        outputs = readout.update(known, before, after, self._chosen, self._extents)
        return [outputs.to(self._activations.pixels.dtype)]

    def _masked(self, rows: Rows) -> Window:
        """Masked images, inside one window each."""
        extent, pixels = self._extents[self._network.source][rows], self._activations.pixels
        start, size = extent.common()
        height, width = extent.size
        y = start[:, 0, None] + np.arange(size[0])
        x = start[:, 1, None] + np.arange(size[1])
        top, bottom, left, right = self._masking.rectangles[rows].T[:, :, None]
        inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
        background = self._background[rows][:, None, None]
        shown = np.where(inside, background ^ 1, background)  # the other one of the pair
        first = positions(np.zeros_like(rows), start, size, (height, width))
        chosen = torch.from_numpy(first + shown * height * width).to(pixels.device)
        return Window(take(pixels, chosen), start)

    def _advance(self, group: _Group) -> list[_Group]:
        """Run a group's steps to the end, or until its rows are split; the new groups, if any."""
        while group.next_step < len(self._network.steps):
            step = self._network.steps[group.next_step]
            groups = self._groups(step, group.rows)
            if len(groups) > 1:
                return group.parts(groups)
            group.windows[step.output] = self._apply(
                step, group.rows, [group.windows[name] for name in step.inputs]
            )
            for name in {*step.inputs, step.output}:
                if self._last_read.get(name, -1) <= group.next_step:
                    self._finish(name, group.rows, group.windows.pop(name))
            group.next_step += 1
        return []

    def _groups(self, step: Step, rows: Rows) -> list[Rows]:
        operation = step.operation
        if not isinstance(operation, Slide) or not operation.macs:
            return [np.arange(len(rows))]
        return group_by_size(
            self._extents[step.output].sizes[rows],
            pixel_cost=operation.macs,
            call_cost=self._call_macs + WEIGHT_MACS * operation.weights,
        )

    def _finish(self, name: str, rows: Rows, window: Window) -> None:
        """Keep a value that no later step reads, if it belongs to the frontier."""
        if name in self._frontier:
            paste(self._frontier[name], rows, np.zeros((len(rows), 2), dtype=np.int64), window)

    def _apply(self, step: Step, rows: Rows, inputs: list[Window]) -> Window:
        operation = step.operation
        if isinstance(operation, Pointwise):
            start, maps = inputs[0].start, [inputs[0].values]
        else:
            start, size = self._extents[step.output][rows].common()
            origin = start
            if isinstance(operation, Slide):
                origin, size = operation.patch(start, size)
                border = np.array(operation.padding)
                inputs = [Window(window.values, window.start + border) for window in inputs]
            maps = [
                self._surrounded(background, rows, window, origin, size)
                for background, window in zip(
                    self._activations.read[step.output], inputs, strict=True
                )
            ]
        output = apply(step, [channels_first(each) for each in maps])
        return Window(pixels_last(output), start)

    def _surrounded(
        self, background: Tensor, rows: Rows, window: Window, start: Corners, size: Size
    ) -> Tensor:
        """A window enlarged or cropped to ``size``, with the background around it."""
        if window.size == size and (window.start == start).all():
            return window.values
        patch = cut(background, self._background[rows], start, size)
        paste(patch, np.arange(len(rows)), start, window)
        return patch


def backgrounds(masking: Masking, pairs: Rows) -> Rows:
    """``(M,)``: what shows outside each rectangle, by its index in the activations' batch."""
    return 2 * pairs + np.where(masking.keeps_inside, BASELINE, IMAGE)


def extents(
    network: TracedNetwork, shapes: Mapping[str, tuple[int, int, int]], masking: Masking
) -> dict[str, Extents]:
    """By name, the part of every value that masking can change."""
    top, bottom, left, right = masking.rectangles.T
    start, stop = np.stack([top, left], axis=1), np.stack([bottom, right], axis=1)
    found = {network.source: Extents(start, stop, shapes[network.source][1:])}
    for step in network.steps:
        parts, size = [found[name] for name in step.inputs], shapes[step.output][1:]
        if isinstance(step.operation, Slide):
            reached = step.operation.reach(parts[0].start, parts[0].stop, size)
            found[step.output] = Extents(*reached, size)
        else:
            found[step.output] = Extents.union(parts)
    return found


def changed_macs(
    network: TracedNetwork, shapes: Mapping[str, tuple[int, int, int]], masking: Masking
) -> NDArray[np.float64]:
    """Multiply-accumulates of what masking can change, up to the tail, ``(M,)``."""
    found = extents(network, shapes, masking)
    macs = np.zeros(len(masking))
    for step in network.steps:
        if isinstance(step.operation, Slide):
            macs += step.operation.macs * found[step.output].sizes.prod(1)
    if network.readout is not None:
        for name in network.frontier:
            position = shapes[name][0] * network.readout.layer.out_features
            macs += position * found[name].sizes.prod(1)
    return macs
