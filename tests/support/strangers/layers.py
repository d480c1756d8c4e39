"""Layers as other people write them: each a builder of a module from a number of channels."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

Builder = Callable[[int, np.random.Generator], nn.Module]


class Lambda(nn.Module):
    """A function of maps, and modules that it may use as ``part``, ``part.more``."""

    def __init__(self, function: Callable[..., Tensor], part: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.part = function, part

    def forward(self, maps: Tensor) -> Any:
        """The function of the maps, or of the part and the maps."""
        return self.function(maps) if self.part is None else self.function(self.part, maps)


def of(function: Callable[[Tensor], Any]) -> Builder:
    """A layer without weights."""
    return lambda channels, rng: Lambda(function)


def using(part: Builder, function: Callable[[Any, Tensor], Any]) -> Builder:
    """A layer that uses another in its own way."""
    return lambda channels, rng: Lambda(function, part(channels, rng))


def pick(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def conv(channels: int, rng: np.random.Generator) -> nn.Conv2d:
    """A convolution of any kernel, stride, dilation and grouping."""
    outputs = channels * pick(rng, 1, 2) if channels < 9 else channels
    return nn.Conv2d(
        channels,
        outputs,
        two(rng, 1, 4),
        stride=two(rng, 1, 3),
        padding=two(rng, 0, 3),
        dilation=two(rng, 1, 3),
        groups=pick(rng, 1, 1, channels),
        bias=bool(rng.integers(2)),
    )


def two(rng: np.random.Generator, least: int, beyond: int) -> tuple[int, int]:
    return int(rng.integers(least, beyond)), int(rng.integers(least, beyond))


def same(channels: int, rng: np.random.Generator, **options: Any) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size and the channels."""
    return nn.Conv2d(channels, channels, 3, **{"padding": 1, **options})


def norm(channels: int, rng: np.random.Generator) -> nn.BatchNorm2d:
    """A batch normalization with statistics of some data."""
    module = nn.BatchNorm2d(channels, affine=bool(rng.integers(2)))
    assert module.running_mean is not None
    assert module.running_var is not None
    module.running_mean.normal_()
    module.running_var.uniform_(0.5, 2)
    return module


def hooked(kind: str, hook: Callable[..., Any]) -> Builder:
    """A convolution with a hook."""

    def build(channels: int, rng: np.random.Generator) -> nn.Module:
        module = same(channels, rng)
        getattr(module, kind)(hook)
        return module

    return build


def reparametrized(change: Callable[..., Any], *arguments: Any) -> Builder:
    """A convolution whose weight is computed from others, at each call or by a property."""

    def build(channels: int, rng: np.random.Generator) -> nn.Module:
        module = same(channels, rng)
        change(module, *arguments)
        module(torch.randn(1, channels, 5, 5))
        with torch.no_grad():  # as after loading weights: computed ones are out of date
            for parameter in module.parameters():
                parameter.mul_(1.3)
        return module

    return build


def overridden(channels: int, rng: np.random.Generator) -> nn.Module:
    """A convolution whose method an application replaced."""
    module = same(channels, rng)
    module.forward = types.MethodType(  # type: ignore[method-assign]
        lambda self, maps: nn.Conv2d.forward(self, maps).square(), module
    )
    return module


class Standardized(nn.Conv2d):
    """A subclass that standardizes its weight."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Convolve."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(input, weight, self.bias, padding=self.padding)


class Counter(nn.Module):
    """Counts its calls in a buffer and in an attribute, and keeps what it saw."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.more = 0

    def forward(self, maps: Tensor) -> Tensor:
        """The maps."""
        self.calls += 1
        self.more += 1
        self.seen = maps
        return maps


class Remembering(nn.Module):
    """Adds a part of what it saw before."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Tensor | float = 0.0

    def forward(self, maps: Tensor) -> Tensor:
        """The maps, and what is left of those before."""
        mixed = maps + 0.1 * self.before
        self.before = maps.mean()
        return mixed


def view_changed(module: nn.Module, maps: Tensor) -> Tensor:
    """Changes a view of a map in place, then reads the map."""
    first = module(maps)
    first.view(first.size(0), -1).mul_(0.5)
    return module(first)


def identity_changed(part: nn.Sequential, maps: Tensor) -> Tensor:
    """Changes what a layer returned, which is the map itself, then reads the map."""
    module, identity = part
    first = module(maps)
    other = functional.relu(identity(first), True)
    return module(first) + other


def added_elsewhere(module: nn.Module, maps: Tensor) -> Tensor:
    """Adds to a map in place under another name, then reads the map."""
    first = module(maps)
    other = first
    other += maps
    return module(first)


def scaled_elsewhere(module: nn.Module, maps: Tensor) -> Tensor:
    """The same with an operator that no window runs."""
    first = module(maps)
    other = first
    other *= 0.5
    return module(first)


def rectified_elsewhere(module: nn.Module, maps: Tensor) -> Tensor:
    """The same with a function, whose result is not used."""
    first = module(maps)
    torch.relu_(first)
    return module(first)


def with_identity(channels: int, rng: np.random.Generator) -> nn.Module:
    return nn.Sequential(same(channels, rng), nn.Dropout(0.3))


def in_place(maps: Tensor) -> Tensor:
    """Operators that change in place."""
    maps = maps * 1.0
    maps *= 1.5
    maps += 0.1
    return maps.clamp_(min=-1)


def squeezed(module: nn.Module, maps: Tensor) -> Tensor:
    """Squeeze and excitation."""
    return maps * module(maps.mean((2, 3), keepdim=True)).sigmoid()


def attended(maps: Tensor) -> Tensor:
    """Attention between all positions."""
    tokens = maps.flatten(2).transpose(1, 2)
    scores = (tokens @ tokens.transpose(1, 2) / tokens.shape[-1] ** 0.5).softmax(-1)
    return (scores @ tokens).transpose(1, 2).reshape(maps.shape)


def by_hand(maps: Tensor) -> Tensor:
    """Batch normalization by hand."""
    mean = maps.mean((0, 2, 3), keepdim=True)
    return (maps - mean) / (maps.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-3).sqrt()


def branching(maps: Tensor) -> Tensor:
    """Takes one of two ways by what it sees."""
    return maps * 2 if maps.mean() > 0 else maps - 1


def checked(maps: Tensor) -> Tensor:
    """Checks its input, which tracing cannot follow."""
    if maps.dim() != 4:
        raise ValueError("expected maps")
    return maps


def residual(module: nn.Module, maps: Tensor) -> Tensor:
    return functional.relu(module(maps) + maps)


def added_in_place(module: nn.Module, maps: Tensor) -> Tensor:
    out = module(maps)
    out += maps
    return functional.relu(out, inplace=True)


def joined(module: nn.Module, maps: Tensor) -> Tensor:
    return torch.cat([module(maps), maps], 1)


def broadcast(module: nn.Module, maps: Tensor) -> Tensor:
    """Adds a map of one position, computed by sliding kernels alone."""
    return maps + functional.adaptive_avg_pool2d(module(maps), 1)


WINDOWED: dict[str, Builder] = {
    "conv": conv,
    "same": same,
    "norm": norm,
    "relu": lambda channels, rng: nn.ReLU(inplace=bool(rng.integers(2))),
    "elu": lambda channels, rng: nn.ELU(inplace=bool(rng.integers(2))),
    "gelu": lambda channels, rng: nn.GELU(),
    "dropout": lambda channels, rng: nn.Dropout(0.5),
    "functional relu": of(functional.relu),
    "functional relu in place": of(partial(functional.relu, inplace=True)),
    "tanh": of(lambda maps: maps.tanh()),
    "max pool": lambda channels, rng: nn.MaxPool2d(3, pick(rng, 1, 2), pick(rng, 0, 1)),
    "dilated pool": lambda channels, rng: nn.MaxPool2d(2, 1, dilation=2),
    "mean pool": lambda channels, rng: nn.AvgPool2d(2, pick(rng, 1, 2)),
    "residual": using(same, residual),
    "added in place": using(same, added_in_place),
    "joined": using(same, joined),
    "twice": using(same, lambda module, maps: module(module(maps).relu())),
    "backward hook": hooked("register_full_backward_hook", lambda *_: None),
}
"""Layers that windows can run."""

WHOLE: dict[str, Builder] = {
    "reflect": partial(same, padding_mode="reflect"),
    "circular": partial(same, padding_mode="circular"),
    "padding same": partial(same, padding="same", dilation=2),
    "transposed": lambda channels, rng: nn.ConvTranspose2d(channels, channels, 3, 2, 1),
    "standardized": lambda channels, rng: Standardized(channels, channels, 3, padding=1),
    "ceiling pool": lambda channels, rng: nn.MaxPool2d(2, 2, ceil_mode=True),
    "padded mean pool": lambda channels, rng: nn.AvgPool2d(3, 1, 1),
    "adaptive": lambda channels, rng: nn.AdaptiveAvgPool2d((3, 4)),
    "resized": of(lambda maps: functional.interpolate(maps, scale_factor=2, mode="nearest")),
    "cropped": of(lambda maps: maps[:, :, 1:, ::2]),
    "padded": of(lambda maps: functional.pad(maps, (1, 0, 2, 1), mode="replicate")),
    "permuted": of(lambda maps: maps.permute(0, 1, 3, 2)),
    "shuffled": of(lambda maps: torch.cat(maps.chunk(2, 1)[::-1], 1)),
    "instance norm": lambda channels, rng: nn.InstanceNorm2d(channels),
    "group norm": lambda channels, rng: nn.GroupNorm(1, channels),
    "whole norm": of(lambda maps: maps / (1 + maps.abs().amax((1, 2, 3), keepdim=True))),
    "squeezed": using(lambda channels, rng: nn.Conv2d(channels, channels, 1), squeezed),
    "attended": of(attended),
    "broadcast": using(same, broadcast),
    "in place": of(in_place),
    "view changed": using(same, view_changed),
    "identity changed": using(with_identity, identity_changed),
    "added elsewhere": using(same, added_elsewhere),
    "scaled elsewhere": using(same, scaled_elsewhere),
    "rectified elsewhere": using(same, rectified_elsewhere),
    "named arguments": using(same, lambda part, maps: torch.cat(tensors=[part(input=maps)], dim=1)),
    "named relu": of(lambda maps: functional.relu(input=maps)),
    "overridden": overridden,
    "new weight norm": reparametrized(parametrizations.weight_norm),
    "new spectral norm": reparametrized(parametrizations.spectral_norm),
    "counter": lambda channels, rng: Counter(),
}
"""Layers that depend on their own image alone, which windows cannot run."""

ONE_BY_ONE: dict[str, Builder] = {
    "forward hook": hooked("register_forward_hook", lambda module, read, out: out * 2),
    "pre-hook": hooked("register_forward_pre_hook", lambda module, read: (read[0] + 1,)),
    "weight norm": reparametrized(nn.utils.weight_norm),
    "spectral norm": reparametrized(nn.utils.spectral_norm),
    "pruned": reparametrized(prune.l1_unstructured, "weight", 0.4),
    "batch statistics": lambda channels, rng: nn.BatchNorm2d(channels, track_running_stats=False),
    "statistics by hand": of(by_hand),
    "centered": of(lambda maps: maps - maps.mean(0) / 2),
    "scaled": of(lambda maps: maps / (1 + maps.abs().max())),
    "softmax": of(lambda maps: maps.softmax(0) + maps),
    "sized": of(lambda maps: maps * maps.size(0)),
    "gated": of(lambda maps: maps * (1 + (maps.mean() > 0))),
    "branching": of(branching),
    "checked": of(checked),
    "scripted": lambda channels, rng: torch.jit.script(same(channels, rng).eval()),
}
"""Layers that depend on the batch, or that tracing cannot see through."""

UNDETERMINED: dict[str, Builder] = {
    "noise": of(lambda maps: maps + 0.1 * torch.randn_like(maps)),
    "noise of its own": of(lambda maps: maps + 0.1 * torch.randn(maps.shape[-1], dtype=maps.dtype)),
    "functional dropout": of(functional.dropout),
    "rare dropout": of(partial(functional.dropout, p=1e-9)),
    "remembering": lambda channels, rng: Remembering(),
}
"""Layers whose output is not determined by their input."""
