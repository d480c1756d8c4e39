"""Cached activations of images and their baselines, the backgrounds that windows are cut from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ier_ray.explain.incremental.operations import Join, Pointwise, Slide, Step
from ier_ray.explain.incremental.tracing import TracedNetwork, UntraceableError

BASELINE, IMAGE = 0, 1
"""Indices of the two backgrounds of the first image in a batch; those of the i-th are 2i more."""


@dataclass(frozen=True)
class CachedActivations:
    """Activations of both backgrounds of N images, which windows are cut from.

    Attributes:
        pixels: ``(2N, H, W, C)``; the inputs: a baseline and its image, and so on.
        read: the maps that each sliding or joining step reads, padded.
        frontier: whole maps that the readout or the tail reads, ``(2N, H, W, C)``.
        read_out: ``(2N, U)``; outputs of the readout, if there is one, in double precision.
        shapes: channels, height and width of every value.
        logits: ``(2N, K)``.
    """

    pixels: Tensor
    read: dict[str, tuple[Tensor, ...]]
    frontier: dict[str, Tensor]
    read_out: Tensor | None
    shapes: dict[str, tuple[int, int, int]]
    logits: Tensor

    @classmethod
    def of(cls, network: TracedNetwork, pixels: Tensor) -> CachedActivations:
        """Run the network on all, ``(2N, C, H, W)``, and keep what windows will need.

        Raises:
            UntraceableError: when maps of different sizes are added, which broadcasts them, or
                the tail fails.
            NetworkError: when the network does not return logits.
        """
        # A copy, whatever the layout: the network's first step may work in place.
        values = {network.source: pixels.clone(memory_format=torch.channels_last)}
        read: dict[str, tuple[Tensor, ...]] = {}
        for step in network.steps:
            maps = [values[name] for name in step.inputs]
            if isinstance(step.operation, Slide):
                maps = [step.operation.padded(maps[0])]
            if len({each.shape[2:] for each in maps}) > 1:
                raise UntraceableError(f"maps of different sizes are joined ({step.output})")
            if not isinstance(step.operation, Pointwise):
                read[step.output] = tuple(pixels_last(each) for each in maps)
            values[step.output] = apply(step, maps)
        frontier = [values[name] for name in network.frontier]
        read_out = network.readout.apply(frontier) if network.readout else None
        inputs = frontier if read_out is None else [read_out.to(pixels.dtype)]
        # Copies, as the tail may work in place.
        logits = network.logits([contiguous_copy(each) for each in inputs])
        return cls(
            pixels=pixels_last(pixels),
            read=read,
            frontier={name: pixels_last(values[name]) for name in network.frontier},
            read_out=read_out,
            shapes={name: (maps.shape[1], *maps.shape[2:]) for name, maps in values.items()},
            logits=logits,
        )

    @classmethod
    def of_pixels(cls, pixels: Tensor, logits: Tensor) -> CachedActivations:
        """Only the inputs ``(2N, C, H, W)`` and their logits: no windows can be cut."""
        return cls(pixels_last(pixels), {}, {}, None, {}, logits)

    @property
    def bytes_per_image(self) -> int:
        """Memory that the activations of an image and its baseline take."""
        return 2 * sum(each[0].nbytes for each in self._tensors())

    def room_for(self, images: int) -> CachedActivations:
        """Activations of the same shapes for so many images, to be written by :meth:`put`."""

        def room(each: Tensor) -> Tensor:
            return each.new_zeros(2 * images, *each.shape[1:])

        return CachedActivations(
            pixels=room(self.pixels),
            read={name: tuple(map(room, maps)) for name, maps in self.read.items()},
            frontier={name: room(maps) for name, maps in self.frontier.items()},
            read_out=None if self.read_out is None else room(self.read_out),
            shapes=self.shapes,
            logits=room(self.logits),
        )

    def put(self, places: Sequence[int], computed: CachedActivations) -> None:
        """Overwrite the activations of some images with those of ``computed``, in its order."""
        for mine, other in zip(self._tensors(), computed._tensors(), strict=True):
            for index, place in enumerate(places):
                mine[2 * place : 2 * place + 2] = other[2 * index : 2 * index + 2]

    def _tensors(self) -> list[Tensor]:
        maps = [each for reads in self.read.values() for each in reads]
        read_out = [] if self.read_out is None else [self.read_out]
        return [self.pixels, *maps, *self.frontier.values(), *read_out, self.logits]


def local_share(network: TracedNetwork, cached: CachedActivations) -> float:
    """Share of the network's multiply-accumulates that lie in the windowed steps."""
    local = 0
    for step in network.steps:
        if isinstance(step.operation, Slide):
            local += step.operation.macs * math.prod(cached.shapes[step.output][1:])
    frontier = [channels_first(maps) for maps in cached.frontier.values()]
    # The counter's hooks fail in inference mode where modules take parameters as inputs.
    with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        if network.readout is not None:
            frontier = [network.readout.layer(torch.cat(frontier, 1).flatten(1))]
        network.tail(*map(contiguous_copy, frontier))
    rest: float = counter.get_total_flops() / 2 / len(cached.pixels)
    return local / (local + rest)


def contiguous_copy(maps: Tensor) -> Tensor:
    """A copy in the layout that networks give their maps unless told otherwise.

    Of maps with one channel, contiguous or not, the strides are ambiguous: only a copy's are not.
    """
    return maps.clone(memory_format=torch.contiguous_format)


def pixels_last(maps: Tensor) -> Tensor:
    """``(M, C, H, W)`` as contiguous ``(M, H, W, C)``."""
    return maps.permute(0, 2, 3, 1).contiguous()


def channels_first(maps: Tensor) -> Tensor:
    """``(M, H, W, C)`` as ``(M, C, H, W)``, without a copy."""
    return maps.permute(0, 3, 1, 2)


def apply(step: Step, maps: Sequence[Tensor]) -> Tensor:
    """The step on maps ``(M, C, H, W)``."""
    operation = step.operation
    return operation.apply(maps) if isinstance(operation, Join) else operation.apply(maps[0])
