"""A network from a seed: layers, a head, and what wraps it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from support.strangers.layers import ONE_BY_ONE, UNDETERMINED, WHOLE, WINDOWED, Builder, pick

CLASSES = 3
GROUPS = {"windowed": WINDOWED, "whole": WHOLE, "one by one": ONE_BY_ONE, "refused": UNDETERMINED}
CHANCES = [0.82, 0.13, 0.045, 0.005]
"""Of the four groups, for each layer but the first."""


class Head(nn.Module):
    """Logits of maps: what makes them rows, dense layers, and what becomes of these.

    Args:
        flatten: maps to rows ``(M, N)``.
        features: N.
    """

    def __init__(
        self, flatten: Callable[[Tensor], Tensor], features: int, finish: Callable[[Tensor], Any]
    ) -> None:
        super().__init__()
        self.flatten, self.finish = copy.deepcopy(flatten), copy.deepcopy(finish)
        self.hidden, self.last = nn.Linear(features, 5), nn.Linear(5, CLASSES)

    def forward(self, maps: Tensor) -> Any:
        """The finished logits."""
        return self.finish(self.last(self.hidden(self.flatten(maps)).relu()))


class Recurrent(nn.Module):
    """Reads the rows of pixels as a sequence: wrongly across images if not ``batch_first``."""

    def __init__(self, channels: int, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.GRU(channels, CLASSES, batch_first=batch_first)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        return self.rnn(maps.mean(2).transpose(1, 2))[0].mean(1)


FLATTENED: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.Flatten(),
    "method": lambda maps: maps.flatten(1),
    "function": lambda maps: torch.flatten(maps, 1),
    "view": lambda maps: maps.view(maps.size(0), -1),
    "reshape": lambda maps: maps.reshape(maps.shape[0], -1),
    "from two": lambda maps: maps.flatten(2).flatten(1),
    "mean": lambda maps: maps.mean((2, 3)),
    "maximum": lambda maps: maps.amax((2, 3)),
    "adaptive": lambda maps: functional.adaptive_avg_pool2d(maps, 2).flatten(1),
}
FINISHED: dict[str, Callable[[Tensor], Any]] = {
    "log-softmax": lambda logits: logits.log_softmax(1),
    "named": lambda logits: functional.normalize(logits, dim=1),
}
MIXED: dict[str, Callable[[Tensor], Any]] = {"softmax of the batch": lambda out: out.softmax(0)}
UNUSABLE: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda logits: (logits, logits),
    "dict": lambda logits: {"logits": logits},
    "list": lambda logits: [logits],
    "maps": lambda logits: logits[:, :, None, None],
    "vector": lambda logits: logits[:, 0],
    "squeezed": lambda logits: logits.squeeze(0),
    "classes": lambda logits: logits.argmax(1, keepdim=True),
}


class Defaults(nn.Module):
    """Takes options that nobody gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, scale: float | None = None, features: bool = False) -> Any:
        """Logits."""
        scaled = images if scale is None else images * scale
        return scaled if features else self.network(scaled)


def averaged(network: nn.Module) -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(network)


def compiled(network: nn.Module) -> nn.Module:
    return cast("nn.Module", torch.compile(network, backend="eager"))


def channels_last(network: nn.Module) -> nn.Module:
    return network.to(memory_format=torch.channels_last)


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "nested": lambda network: nn.Sequential(nn.Sequential(network), nn.Identity()),
    "data parallel": nn.DataParallel,
    "averaged": averaged,
    "defaults": Defaults,
    "frozen": lambda network: network.requires_grad_(False),
    "compiled": compiled,
    "channels last": channels_last,
}


@dataclass(frozen=True)
class Stranger:
    """A network from elsewhere, and a pair of an image and a baseline.

    Attributes:
        parts: names of what it is made of, with their groups before a colon.
    """

    network: nn.Module
    image: Tensor
    baseline: Tensor
    parts: tuple[str, ...]

    def has(self, group: str) -> bool:
        """Whether a part is of the group."""
        return any(part.startswith(f"{group}: ") for part in self.parts)


def generate(seed: int) -> Stranger:
    """The network of a seed, in eval mode but for a few."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    channels, height, width = int(rng.integers(1, 5)), *map(int, rng.integers(9, 18, 2))
    image, baseline = torch.randn(2, channels, height, width)
    layers, parts = _layers(rng, image[None])
    with torch.no_grad():
        maps = nn.Sequential(*layers).eval()(image[None].clone())
    head, named = _head(rng, maps)
    network: nn.Module = nn.Sequential(*layers, head)
    dtype = pick(rng, *[torch.float64] * 5, torch.float32)
    network = network.to(dtype).eval()
    if rng.random() < 0.25:
        name = pick(rng, *WRAPPED)
        network = WRAPPED[name](network).eval()
        named = f"{named}|wrapped: {name}"
    if rng.random() < 0.02:
        network.train()
        named = f"{named}|refused: training"
    image, baseline = image.to(dtype), baseline.to(dtype)
    try:
        network(image[None].clone())
    except RuntimeError:  # a view of maps that are not contiguous
        named = f"{named}|refused: fails"
    return Stranger(network, image, baseline, (*parts, *named.split("|")))


def _layers(rng: np.random.Generator, maps: Tensor) -> tuple[list[nn.Module], list[str]]:
    """Between two and seven layers that fit one another; the first is windowed, mostly."""
    layers: list[nn.Module] = []
    parts: list[str] = []
    for number in range(int(rng.integers(2, 8))):
        group = "windowed" if number == 0 and rng.random() < 0.9 else pick_group(rng)
        name = "conv" if number == 0 and group == "windowed" else pick(rng, *GROUPS[group])
        after = fitting(GROUPS[group][name], rng, maps)
        if after is not None:
            layers.append(after[0])
            maps = after[1]
            parts.append(f"{group}: {name}")
    return layers, parts


def pick_group(rng: np.random.Generator) -> str:
    return list(GROUPS)[rng.choice(len(GROUPS), p=CHANCES)]


@torch.no_grad()
def fitting(
    build: Builder, rng: np.random.Generator, maps: Tensor
) -> tuple[nn.Module, Tensor] | None:
    """A layer and its maps of some maps; None if these are too small for it, or become so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old weight_norm
        layer = build(maps.shape[1], rng).eval()
    try:
        after = layer(maps.clone())
    except RuntimeError:
        return None
    return (layer, after) if min(after.shape[2:]) > 2 and after[0].numel() < 20_000 else None


def _head(rng: np.random.Generator, maps: Tensor) -> tuple[nn.Module, str]:
    """A head and its name, with its group."""
    chance = rng.random()
    if chance < 0.08:
        batch_first = chance < 0.04
        group = "whole" if batch_first else "one by one"
        return Recurrent(maps.shape[1], batch_first=batch_first), f"{group}: recurrent"
    finished, group = pick(rng, (FINISHED, "head"), (MIXED, "one by one"), (UNUSABLE, "refused"))
    if rng.random() < 0.9:
        finished, group = {"logits": nn.Identity()}, "head"
    name = pick(rng, *finished)
    flattened = pick(rng, *FLATTENED) if maps.is_contiguous() else "method"
    features = FLATTENED[flattened](maps).shape[1]
    head = Head(FLATTENED[flattened], features, finished[name])
    return head, f"head: {flattened}|{group}: {name}"
